"""The plain scan, differentiated by jax: what a recurrence over time means, and the oracle of the faster methods."""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.product import apply_mask, project
from rnnlab.scans.recurrence import recur, weights_dtype
from rnnlab.scans.select import Where, enter_step, select_state


def run(
    cell: Cell,
    reverse: bool,
    params: Params,
    inputs: Array,
    state: State,
    updates: Where,
    resets: Array | None,
    mask: Array | None,
) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state; arguments as in `sequential.run`."""
    dtype = jnp.result_type(inputs, weights_dtype(params))

    def step(before: State, at_step):
        x, updated, reset_rows = at_step
        entered = enter_step(reset_rows, before, state)
        a, r = project(params, x), recur(cell, params, apply_mask(entered[0], mask))
        after = cell.combine(params, entered, a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(updated, after, entered)
        return after, after[0].astype(dtype)

    final, outputs = jax.lax.scan(step, state, (inputs, updates, resets), reverse=reverse)
    return outputs, final
