"""The exact Jacobian of one step of any cell, from its description."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.scan.product import project


def step_jacobian(
    cell: Cell, params: Params, state: State, inputs: Float[Array, "batch features"]
) -> Float[Array, "batch after before"]:
    """d s_t / d s_{t-1} for each sequence of the batch.

    `combine` is pointwise in the units, so d combine / d s and d combine / d r are diagonal in each pair of entries and
    gates, and one forward derivative per entry and per gate gives them whole:
    d s_t / d s_{t-1} = d combine / d s + d combine / d r R^T (only through the entry h).

    Args:
      cell, params: the cell; one that mixes units inside `combine` is differentiated as a whole instead.
      state: s_{t-1}, S entries `[batch, hidden]`.
      inputs: x_t, `[batch, features]`.

    Returns:
      `[batch, S*hidden, S*hidden]`, entry `[b, i, j]` = d s_t[i] / d s_{t-1}[j], the entries of the state one after
      another in the order of `cell.state_names`.
    """
    a = project(params, inputs)
    if cell.mixes_units:
        return _by_autodiff(cell, params, state, a)
    r = state[0] @ params["R"]
    batch, hidden = state[0].shape
    per_gate = jnp.split(params["R"], len(cell.gates), axis=1)

    def derivatives(d_state: State, d_r: Array) -> Array:
        """The diagonals `[S, batch, hidden]` of d s_t along one direction that is the same for every unit."""
        return jnp.stack(jax.jvp(lambda s, q: cell.combine(params, s, a, q), (state, r), (d_state, d_r))[1])

    none = tuple(jnp.zeros_like(entry) for entry in state)
    columns = []
    for index, entry in enumerate(state):
        direction = tuple(jnp.ones_like(e) if i == index else jnp.zeros_like(e) for i, e in enumerate(state))
        diagonals = derivatives(direction, jnp.zeros_like(r))
        block = diagonals[..., None] * jnp.eye(hidden, dtype=entry.dtype)
        if index == 0:
            for gate, recurrent in enumerate(per_gate):
                unit = jnp.zeros((len(per_gate), hidden), r.dtype).at[gate].set(1).reshape(-1)
                block += derivatives(none, jnp.broadcast_to(unit, r.shape))[..., None] * recurrent.T
        columns.append(block)  # [S, batch, hidden (of s_t), hidden (of s_{t-1})]
    whole = jnp.stack(columns)  # [S before, S after, batch, hidden after, hidden before]
    return whole.transpose(2, 1, 3, 0, 4).reshape(batch, len(state) * hidden, len(state) * hidden)


def _by_autodiff(cell: Cell, params: Params, state: State, a: Array) -> Array:
    hidden = state[0].shape[1]

    def step(flat: Array, a_row: Array) -> Array:
        before = tuple(entry[None] for entry in jnp.split(flat, flat.shape[0] // hidden))
        return jnp.concatenate(cell.combine(params, before, a_row[None], before[0] @ params["R"]), axis=1)[0]

    return jax.vmap(jax.jacfwd(step))(jnp.concatenate(state, axis=1), a)
