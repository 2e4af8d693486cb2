"""Long-term Jacobians d s_T / d s_(T-lag): their norms and whole singular spectra, for lags of thousands."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.gradient_flow import graded
from rnnlab.gradient_flow.graded import Graded
from rnnlab.gradient_flow.trajectory import run, widen
from rnnlab.scans import step_jacobian
from rnnlab.scans.precision import exact_products


class LagJacobians(NamedTuple):
    """Measurements of d s_T / d s_(T-lag), for each of L lags and each sequence; logs are natural.

    `lags` `[L]`; `log_singular_values` `[L, batch, S*hidden]`, descending; `log_norms` `[L, batch, S, S]`, the spectral
    norm of d entry_T / d entry'_(T-lag) for each pair of entries of the state, in the order of `Cell.state_names`
    (`[..., 0, 0]` is d h_T / d h_(T-lag)).
    """

    lags: np.ndarray
    log_singular_values: Array
    log_norms: Array

    @property
    def log_condition(self) -> Float[Array, "lags batch"]:
        """The log of the condition number, largest over smallest singular value."""
        return self.log_singular_values[..., 0] - self.log_singular_values[..., -1]


@exact_products
def lag_jacobians(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    *,
    lags: Sequence[int],
    state: State | None = None,
) -> LagJacobians:
    """Measures how far a gradient at the last step reaches back (Pascanu, Mikolov and Bengio 2013, arXiv 1211.5063).

    The product of step Jacobians is re-orthonormalised at every step and its scales are stored as logs (`graded.py`),
    so nothing over- or underflows. Use float64 (`jax.enable_x64`) for the smallest singular values.

    Args:
      cell, params, inputs, state: as in `rnnlab.scans.scan`, without lengths or segment starts.
      lags: from 0 to time, ascending.

    Raises:
      ValueError: no lags, lags that are not ascending, or one outside 0 to time.
    """
    found = _at_lags(_GRADED, cell, params, inputs, lags=lags, state=state)
    singular, norms = (jnp.stack(values) for values in zip(*found, strict=True))
    return LagJacobians(np.asarray(lags), singular, norms)


@exact_products
def lag_norms(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    *,
    lags: Sequence[int],
    state: State | None = None,
) -> Float[Array, "lags batch after before"]:
    """Computes only `LagJacobians.log_norms`, many times cheaper: products are rescaled at every step, without QR.

    A block of entries with a norm far below that of the whole state's Jacobian, by the precision of the dtype, is lost
    in rounding. Arguments and errors are those of `lag_jacobians`.
    """
    return jnp.stack(_at_lags(_RESCALED, cell, params, inputs, lags=lags, state=state))


class _Product(NamedTuple):
    """How a product of transposed step Jacobians is represented, so that it neither over- nor underflows.

    `identity(shape, dtype)` is the empty product of a batch, `multiply(jacobian, product)` the next one, and
    `measure(product, entries)` what is found of it, for a state of so many entries.
    """

    identity: Callable
    multiply: Callable
    measure: Callable


class _Steps(NamedTuple):
    """The points at which the Jacobians of steps are taken, all `[time, batch, ...]`."""

    before: State
    inputs: Array


def _at_lags(kind: _Product, cell: Cell, params: Params, inputs: Array, *, lags: Sequence[int], state) -> list:
    """Measures the product at each lag."""
    time, batch, _ = inputs.shape
    wanted = np.asarray(lags)
    if not wanted.size or (np.diff(wanted) <= 0).any() or wanted[0] < 0 or wanted[-1] > time:
        raise ValueError(f"lags must be ascending and in 0 to {time} (the time of inputs), not {list(lags)}")
    params, inputs, state = widen(params, inputs, state)
    before = run(cell, params, inputs, state).before
    product = kind.identity((batch, sum(entry.shape[-1] for entry in before)), before[0].dtype)
    found, done = [], 0
    for lag in wanted.tolist():
        product = _go_back(kind, cell, params, _Steps(before, inputs), product, end=time - done, start=time - lag)
        found.append(kind.measure(product, len(before)))
        done = lag
    return found


def _rescaled_identity(shape: tuple[int, int], dtype) -> tuple[Array, Array]:
    """Returns the empty product, and the log `[batch]` of its scale."""
    batch, size = shape
    return jnp.broadcast_to(jnp.eye(size, dtype=dtype), (batch, size, size)), jnp.zeros(batch, dtype)


def _rescaled_multiply(jacobian: Array, product: tuple[Array, Array]) -> tuple[Array, Array]:
    matrix, log_scale = product
    matrix = jacobian @ matrix
    norm = jnp.linalg.norm(matrix, axis=(-2, -1))
    return matrix / jnp.where(norm > 0, norm, 1)[:, None, None], log_scale + jnp.log(norm)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _go_back(kind: _Product, cell: Cell, params: Params, steps: _Steps, product, *, end, start):
    """Extends the transposed product, which reaches back to before step `end`, to before step `start`."""

    def step(index, product):
        jacobian = step_jacobian(cell, params, *jax.tree.map(lambda v: v[end - 1 - index], steps))
        return kind.multiply(jnp.swapaxes(jacobian, -1, -2), product)

    return jax.lax.fori_loop(0, end - start, step, product)


@functools.partial(jax.jit, static_argnums=1)
def _measure(product: Graded, entries: int) -> tuple[Array, Array]:
    return graded.log_singular_values(product), _block_norms(graded.scaled_matrix(product), entries)


@functools.partial(jax.jit, static_argnums=1)
def _block_norms(product: tuple[Array, Array], entries: int) -> Array:
    matrix, log_scale = product
    batch, size, _ = matrix.shape
    blocks = matrix.reshape(batch, entries, size // entries, entries, size // entries).transpose(0, 3, 1, 4, 2)
    norms = jnp.log(jnp.linalg.norm(blocks, ord=2, axis=(-2, -1)))  # transposed: [batch, after, before, ...]
    return norms + log_scale[:, None, None]


_GRADED = _Product(graded.identity, graded.multiply, _measure)
_RESCALED = _Product(_rescaled_identity, _rescaled_multiply, _block_norms)
