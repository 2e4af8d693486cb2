"""One loop over time with a custom derivative: the backward loop carries only the state's gradient.

Reverse mode only: for forward mode use `method="reference"`.
"""

import functools

import jax
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.backward import backward
from rnnlab.scans.loop import run_blocks
from rnnlab.scans.plan import Plan
from rnnlab.scans.pull import pull_steps
from rnnlab.scans.residuals import Residuals, split
from rnnlab.scans.sequences import Sequences


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(cell: Cell, plan: Plan, params: Params, given: Sequences) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state; `plan.block` divides the time."""
    final, _, stored = run_blocks(cell, plan, params, given, store=False)
    return split(stored).hidden, final


def _forward(cell: Cell, plan: Plan, params: Params, given: Sequences):
    final, entered, stored = run_blocks(cell, plan, params, given, store=not plan.recompute)
    residuals = Residuals(params, given, entered, None) if plan.recompute else Residuals(params, given, (), stored)
    return (split(stored).hidden, final), residuals


def _backward(cell: Cell, plan: Plan, residuals: Residuals, cotangents: tuple[Array, State]):
    return backward(cell, plan, residuals, cotangents, functools.partial(pull_steps, cell, plan))


run.defvjp(_forward, _backward)
