"""The plain scan, differentiated by jax: what a recurrence over time means, and the oracle of the faster methods."""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scan.product import product, project
from rnnlab.scan.select import enter_step, select_state


def run(
    cell: Cell, params: Params, inputs: Array, state: State, valid: Array | None, resets: Array | None, reverse: bool
) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state; arguments as in `rnnlab.scan.scan`."""
    fresh = cell.initial_state(inputs.shape[1], params["R"].shape[0], state[0].dtype)
    dtype = jnp.result_type(inputs, params["R"])

    def step(before: State, at_step):
        x, valid_rows, reset_rows = at_step
        entered = enter_step(reset_rows, before, fresh)
        a, r = project(params, x), product(entered[0], params["R"])
        after = cell.combine(params, entered, a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(valid_rows, after, before)
        return after, after[0].astype(dtype)

    final, outputs = jax.lax.scan(step, state, (inputs, valid, resets), reverse=reverse)
    return outputs, final
