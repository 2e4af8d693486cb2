"""Cells whose step is affine in the state, over all steps at once by an associative scan (minGRU, LRU, RG-LRU ...)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import linear, parallel, sequential
from rnnlab.scans.plan import Plan
from rnnlab.scans.product import project
from rnnlab.scans.recurrence import weights_dtype
from rnnlab.scans.select import Where


@dataclasses.dataclass(frozen=True)
class Associative:
    """How a linear recurrence is scanned.

    Attributes:
      block: steps that follow one another; blocks are run at once, and an associative scan over them tells what each
        begins with. 1: an associative scan of all steps; all steps or more: a loop, in which nothing is left but the
        products with the decays. None: as measured for the device.

    Raises:
      ValueError: a block below 1.
    """

    block: int | None = None

    def __post_init__(self):
        if self.block is not None and self.block < 1:
            raise ValueError(f"associative: block must be at least 1, or None, not {self.block}")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def run(
    cell: Cell,
    method: Associative,
    reverse: bool,
    params: Params,
    inputs: Array,
    state: State,
    updates: Where,
    resets: Array | None,
    mask: Array | None,
) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state; arguments as in `sequential.run`.

    A linear cell's `combine` is its own linearisation, at any state: at 0 it gives what is added, and its derivatives
    the matrices.
    """
    return _forward(cell, method, reverse, params, inputs, state, updates, resets, mask)[0]


def _forward(cell, method, reverse, params, inputs, state, updates, resets, mask):
    a, time = project(params, inputs), inputs.shape[0]

    def in_order(values):
        return jax.tree.map(lambda v: v[::-1] if reverse else v, values)

    a_own, updates_own, resets_own = in_order((a, updates, resets))
    steps = parallel.Steps.over(a_own, updates_own, resets_own, state, mask)
    nothing = tuple(jnp.zeros_like(steps.a[:, : entry.shape[1]], entry.dtype) for entry in state)
    linearisation = parallel.Linearisation(cell, whole=False)
    matrices = linearisation.matrices(params, steps, nothing, time)
    drives = parallel.advance(cell, params, steps, nothing)
    drives = tuple(entry.reshape(time, -1, entry.shape[-1]) for entry in drives)
    states = in_order(linear.solve(matrices, drives, state, block=method.block))
    found = parallel.Solution.of_states(state, states, reverse, jnp.result_type(inputs, weights_dtype(params)))
    kept = parallel.residuals(cell, params, a, (updates, resets, mask), state, found, reverse)
    return (found.hidden, found.final), (params, (inputs, updates, resets), mask, state, (), kept)


def _backward(cell, method, reverse, residuals, cotangents):
    linearisation = parallel.Linearisation(cell, whole=False)
    pull = functools.partial(parallel.pull_steps, linearisation, method.block)
    plan = Plan(cotangents[0].shape[0], project="block")
    return sequential.backward(cell, plan, reverse, residuals, cotangents, pull)


run.defvjp(_forward, _backward)
