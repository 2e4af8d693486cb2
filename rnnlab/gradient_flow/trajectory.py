"""The states and projections of a cell along a sequence."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.precision import exact_products
from rnnlab.scans.product import at_least_float32, project
from rnnlab.scans.recurrence import recur, weights_dtype


class Trajectory(NamedTuple):
    """`before` each step, entries `[time, batch, hidden]`; `after` the last, `[batch, hidden]`; and the projections of
    each step, `x W + b` and `h R`, `[time, batch, gates * hidden]`."""

    before: State
    after: State
    input_projection: Array
    recurrent_projection: Array

    @property
    def hidden(self) -> Float[Array, "time batch hidden"]:
        """`h` after each step."""
        return jnp.concatenate([self.before[0][1:], self.after[0][None]])


def widen(*values: Any) -> Any:
    """Casts arrays and pytrees of them to one dtype: that of the widest, and at least float32; ids are unchanged."""

    def is_float(value: Any) -> bool:
        return jnp.issubdtype(jnp.result_type(value), jnp.floating)

    dtype = at_least_float32(jnp.result_type(*filter(is_float, jax.tree.leaves(values))))
    return jax.tree.map(lambda value: jnp.asarray(value, dtype) if is_float(value) else value, values)


@exact_products
def run(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    state: State | None = None,
    nudges: Float[Array, "time batch projection"] | None = None,
) -> Trajectory:
    """Runs a cell and stores all states and projections, in float32 or better.

    Args:
      cell, params, inputs, state: as in `rnnlab.scans.scan`.
      nudges: added to `h R` of each step, `[time, batch, gates * hidden]`, for differentiation.
    """
    return _run(cell, *widen(params, inputs, state, nudges))


@functools.partial(jax.jit, static_argnums=0)
def _run(cell: Cell, params: Params, inputs: Array, state: State | None, nudges: Array | None) -> Trajectory:
    if state is None:
        state = cell.initial_state(inputs.shape[1], cell.features(params), weights_dtype(params))

    def step(state: State, at_step):
        x, nudge = at_step
        a, r = project(params, x), recur(cell, params, state[0])
        r = r if nudge is None else r + nudge
        return cell.combine(params, state, a, r), (state, a, r)

    after, (before, a, r) = jax.lax.scan(step, state, (inputs, nudges))
    return Trajectory(before, after, a, r)
