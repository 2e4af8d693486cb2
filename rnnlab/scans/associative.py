"""Cells whose step is affine in the state (minGRU, LRU, RG-LRU ...), parallel in time by an associative scan."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import linear, parallel
from rnnlab.scans.backward import backward
from rnnlab.scans.plan import Plan
from rnnlab.scans.product import project
from rnnlab.scans.residuals import Residuals
from rnnlab.scans.sequences import Sequences, flip


@dataclasses.dataclass(frozen=True)
class Associative:
    """Settings of the associative scan of a linear recurrence.

    Main arguments:
      block: the number of sequential steps in one block. All blocks run in parallel, and an associative scan over the
        blocks gives the initial state of each of them. 1: an associative scan over all steps; at least the number of
        steps: one loop that only multiplies with the decays. None: the fastest block measured on the device.

    Raises:
      ValueError: a block below 1. A cell that is not linear, or has an `R`, is refused by `scan`.
    """

    block: int | None = None

    def __post_init__(self):
        if self.block is not None and self.block < 1:
            raise ValueError(f"associative: block must be at least 1, or None, not {self.block}")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(cell: Cell, method: Associative, params: Params, given: Sequences) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state.

    The `combine` of a linear cell equals its linearisation at any state: its value at 0 is the drive of a step, and its
    derivatives are the matrices.
    """
    return _forward(cell, method, params, given)[0]


def _forward(cell: Cell, method: Associative, params: Params, given: Sequences):
    projected = given.with_inputs(project(params, given.steps.inputs))
    steps = parallel.AllSteps.of(projected.in_order())
    zeros = tuple(jnp.zeros_like(steps.a[..., : entry.shape[1]], entry.dtype) for entry in given.initial)
    matrices = parallel.Linearisation(cell, whole=False).matrices(params, steps, zeros)
    drives = parallel.advance(cell, params, steps, zeros)
    states = flip(linear.solve(matrices, drives, given.initial, block=method.block), given.reverse)
    found = parallel.Solution.of_states(given, states, given.dtype(params))
    stored = parallel.residuals_of(cell, params, projected, found)
    return (found.hidden, found.final), Residuals(params, given, (), stored)


def _backward(cell: Cell, method: Associative, residuals: Residuals, cotangents: tuple[Array, State]):
    linearisation = parallel.Linearisation(cell, whole=False)
    pull = functools.partial(parallel.pull_steps, linearisation, method.block)
    plan = Plan(cotangents[0].shape[0], project="block")
    return backward(cell, plan, residuals, cotangents, pull)


run.defvjp(_forward, _backward)
