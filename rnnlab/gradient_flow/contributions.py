"""Each time step's contribution to the gradient of a loss, and the saturation of its gates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.gradient_flow.trajectory import Trajectory, run, widen
from rnnlab.scans.precision import exact_products


class StepGradients(NamedTuple):
    """For a loss L and each step t: `inputs` `[time, batch]`, the norm of dL/dx_t; `recurrent` `[time]`, the Frobenius
    norm of the contribution of step t to dL/dR; `gates` `[gates, bins]`, histograms of `a + r` of each gate with bin
    `edges` `[bins + 1]`, over steps, sequences and units, the outermost bins open."""

    loss: Array
    inputs: Array
    recurrent: Array
    gates: Array
    edges: np.ndarray


@exact_products
def step_gradients(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    loss: Callable[[Array], Array],
    *,
    state: State | None = None,
    edges: np.ndarray | None = None,
) -> StepGradients:
    """Measures each step's contribution to the gradient (Pascanu, Mikolov and Bengio 2013, 1211.5063, eq. 3 to 5).

    Args:
      cell, params, inputs, state: as in `rnnlab.scans.scan`, without lengths or segment starts.
      loss: `h` of every step `[time, batch, hidden]` -> a scalar.
      edges: bin edges of the gates' histogram, ascending; None: -8, -7, ... 8.
    """
    params, inputs, state = widen(params, inputs, state)
    still = jnp.zeros((*inputs.shape[:2], params["b"].shape[0]), inputs.dtype)

    def of_run(inputs: Array, nudges: Array):
        trajectory = run(cell, params, inputs, state, nudges)
        return loss(trajectory.hidden), trajectory

    (value, trajectory), found = jax.value_and_grad(of_run, argnums=(0, 1), has_aux=True)(inputs, still)
    return each_step(cell, trajectory, value, *found, edges=edges)


@exact_products
def each_step(
    cell: Cell,
    trajectory: Trajectory,
    loss: Array,
    d_inputs: Float[Array, "time batch features"],
    d_recurrent: Float[Array, "time batch projection"],
    *,
    edges: np.ndarray | None = None,
) -> StepGradients:
    """Does the same for a loss with known gradients with respect to each x_t and each `h R`."""
    edges = np.arange(-8.0, 9.0) if edges is None else edges
    trajectory, d_inputs, d_recurrent = widen(trajectory, d_inputs, d_recurrent)
    before = trajectory.before[0]
    # |sum over the batch of h_b d_b^T|_F^2 = sum over pairs of rows (h_b . h_c) (d_b . d_c): no [hidden, gates] matrix
    squares = jnp.einsum("tbh,tch->tbc", before, before) * jnp.einsum("tbg,tcg->tbc", d_recurrent, d_recurrent)
    recurrent = jnp.sqrt(jnp.maximum(squares.sum((1, 2)), 0))
    gates = jnp.split(trajectory.input_projection + trajectory.recurrent_projection, len(cell.gates), axis=-1)
    inner = jnp.asarray(edges[1:-1])
    counts = [jnp.bincount(jnp.searchsorted(inner, gate.reshape(-1)), length=len(edges) - 1) for gate in gates]
    return StepGradients(loss, jnp.linalg.norm(d_inputs, axis=-1), recurrent, jnp.stack(counts), edges)
