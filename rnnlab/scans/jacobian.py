"""The exact Jacobian of one step of any cell, from its description."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.precision import exact_products
from rnnlab.scans.product import project
from rnnlab.scans.recurrence import dense, recur

Pointwise = Callable[[State, Array], State]


def local_derivatives(step: Pointwise, state: State, r: Array, gates: int) -> tuple[list[list[Array]], list[State]]:
    """Returns d step / d state and d step / d r of a step that is pointwise in the units.

    All these matrices are diagonal, so one forward derivative, in a direction that is the same for every unit, gives a
    whole matrix.

    Args:
      step: `(state, r) -> state`.
      state: S entries `[..., hidden]`.
      r: `[..., gates * hidden]`.

    Returns:
      `by_state[p][q]`, the derivative of entry p by entry q, and `by_gate[g][p]`, that of entry p by gate g, each
      `[..., hidden]`.
    """
    none = tuple(jnp.zeros_like(entry) for entry in state)

    def along(d_state: State, d_r: Array) -> State:
        return jax.jvp(step, (state, r), (d_state, d_r))[1]

    columns = []
    for index, entry in enumerate(state):
        direction = (*none[:index], jnp.ones_like(entry), *none[index + 1 :])
        columns.append(along(direction, jnp.zeros_like(r)))
    hidden = state[0].shape[-1]
    units = [jnp.arange(gates * hidden) // hidden == gate for gate in range(gates)]
    by_gate = [along(none, jnp.broadcast_to(unit, r.shape).astype(r.dtype)) for unit in units]
    return [list(row) for row in zip(*columns, strict=True)], by_gate


@exact_products
def step_jacobian(
    cell: Cell, params: Params, state: State, inputs: Float[Array, "batch features"] | Int[Array, "batch"]
) -> Float[Array, "batch after before"]:
    """Returns d s_t / d s_{t-1} for each sequence of the batch.

    That is d combine / d s + d combine / d r R^T (through the entry h only), both from `local_derivatives`.

    Args:
      cell, params: the cell. One that mixes units inside `combine` is differentiated as a whole.
      state: s_{t-1}, S entries `[batch, hidden]`.
      inputs: x_t, `[batch, features]`.

    Returns:
      `[batch, S*hidden, S*hidden]`, entry `[b, i, j]` = d s_t[i] / d s_{t-1}[j], the entries of the state one after
      another in the order of `cell.state_names`.
    """
    a = project(params, inputs)
    if cell.mixes_units:
        return _by_autodiff(cell, params, state, a)
    r = recur(cell, params, state[0])
    by_state, by_gate = local_derivatives(lambda s, q: cell.combine(params, s, a, q), state, r, len(cell.gates))
    per_gate = jnp.split(dense(cell, params), len(cell.gates), axis=1)
    rows = []
    for p, row in enumerate(by_state):
        blocks = [diagonal[..., None] * jnp.eye(diagonal.shape[-1], dtype=diagonal.dtype) for diagonal in row]
        blocks[0] += sum(of[p][..., None] * recurrent.T for of, recurrent in zip(by_gate, per_gate, strict=True))
        rows.append(jnp.concatenate(blocks, axis=-1))
    return jnp.concatenate(rows, axis=-2)


def _by_autodiff(cell: Cell, params: Params, state: State, a: Array) -> Array:
    hidden = state[0].shape[1]

    def step(flat: Array, a_row: Array) -> Array:
        before = tuple(entry[None] for entry in jnp.split(flat, flat.shape[0] // hidden))
        return jnp.concatenate(cell.combine(params, before, a_row[None], recur(cell, params, before[0])), axis=1)[0]

    return jax.vmap(jax.jacfwd(step))(jnp.concatenate(state, axis=1), a)
