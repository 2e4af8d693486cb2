"""The plain scan, differentiated by jax: the definition, and the oracle of the faster methods."""

import jax
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.product import apply_mask, project
from rnnlab.scans.recurrence import recur
from rnnlab.scans.select import enter_step, select_state
from rnnlab.scans.sequences import Sequences


def run(cell: Cell, params: Params, given: Sequences) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state."""
    dtype = given.dtype(params)

    def step(before: State, at_step):
        x, updated, starts = at_step
        entered = enter_step(starts, before, given.initial)
        a, r = project(params, x), recur(cell, params, apply_mask(entered[0], given.mask))
        after = cell.combine(params, entered, a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(updated, after, entered)
        return after, after[0].astype(dtype)

    final, outputs = jax.lax.scan(step, given.initial, given.steps, reverse=given.reverse)
    return outputs, final
