"""Lyapunov exponents of a cell driven by data: the rate per step at which neighbouring states diverge or converge."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.gradient_flow.trajectory import run, widen
from rnnlab.scans import step_jacobian
from rnnlab.scans.precision import exact_products


@exact_products
def lyapunov_exponents(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    *,
    state: State | None = None,
    exponents: int | None = None,
    burn_in: int = 0,
) -> Float[Array, "batch exponents"]:
    """Computes the largest Lyapunov exponents along each sequence, in nats per step, descending.

    By QR re-orthonormalisation at every step (Engelken, Wolf and Abbott 2023, arXiv 2006.02427; Benettin et al. 1980).

    Args:
      cell, params, inputs, state: as in `rnnlab.scans.scan`, without lengths or segment starts.
      exponents: their number; None: all, the size of the whole state.
      burn_in: first steps that only align the directions with the growing ones.

    Raises:
      ValueError: `burn_in` outside 0 to time - 1, or `exponents` outside 1 to the size of the state.
    """
    time = inputs.shape[0]
    size = cell.features(params) * len(cell.state_names)
    number = size if exponents is None else exponents
    if not 0 <= burn_in < time:
        raise ValueError(f"burn_in must be in 0 to {time - 1} (below the time of inputs), not {burn_in}")
    if not 1 <= number <= size:
        raise ValueError(f"exponents must be in 1 to {size} (the size of the state), not {exponents}")
    grown = _growth(cell, *widen(params, inputs, state), number)
    return -jnp.sort(-grown[burn_in:].mean(0), axis=-1)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _growth(cell: Cell, params: Params, inputs: Array, state: State | None, number: int) -> Array:
    """Returns the log of the growth of each direction in each step, `[time, batch, number]`."""
    before = run(cell, params, inputs, state).before
    size = sum(entry.shape[-1] for entry in before)
    start = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, number), before[0].dtype))[0]

    def step(directions: Array, at_step):
        directions, triangle = jnp.linalg.qr(step_jacobian(cell, params, *at_step) @ directions)
        return directions, jnp.log(jnp.abs(jnp.diagonal(triangle, axis1=-2, axis2=-1)))

    start = jnp.broadcast_to(start, (inputs.shape[1], size, number))
    return jax.lax.scan(step, start, (before, inputs))[1]


def kaplan_yorke_dimension(exponents: Float[Array, "... exponents"]) -> Float[Array, "..."]:
    """Computes the dimension of the attractor: how many of the largest exponents add up to 0 (Kaplan and Yorke 1979).

    That is j + sum_j / |exponent_(j+1)|, with j the largest number of exponents with a sum of at least 0; if every sum
    is at least 0, the number of exponents.

    Args:
      exponents: the whole spectrum, descending.
    """
    (exponents,) = widen(jnp.asarray(exponents))
    sums = jnp.cumsum(exponents, axis=-1)
    whole = (sums >= 0).cumprod(-1).sum(-1)
    last = exponents.shape[-1] - 1
    total = jnp.take_along_axis(sums, jnp.clip(whole - 1, 0)[..., None], axis=-1)[..., 0]
    following = jnp.take_along_axis(exponents, jnp.clip(whole, 0, last)[..., None], axis=-1)[..., 0]
    partial = jnp.where((whole > 0) & (whole <= last), total / jnp.abs(following), 0)
    return whole + partial
