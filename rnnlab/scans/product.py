"""Products with weights: operands in the dtype of the weights, sums in float32 or wider; shared by every method."""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Params
from rnnlab.scans.sharding import may_be_divided


def at_least_float32(dtype) -> jnp.dtype:
    """Returns the dtype of states and sums: float32 if `dtype` is narrower, else `dtype`."""
    return jnp.promote_types(dtype, jnp.float32)


def product(rows: Array, weights: Array) -> Array:
    """Returns `rows @ weights`, operands in the dtype of the weights (bfloat16, say), the sum in `at_least_float32`."""
    return jnp.matmul(rows.astype(weights.dtype), weights, preferred_element_type=at_least_float32(weights.dtype))


def join_steps(values: Array) -> Array:
    """Returns `[time, batch, ...]` as `[time * batch, ...]`, for sums over both, unless devices may share the batch.

    As one axis, time and batch could not be sharded: each device would get and multiply all rows. As two axes they cost
    XLA's CPU backend copies, up to a tenth of a training pass.
    """
    return values if may_be_divided() else values.reshape(-1, *values.shape[2:])


def sum_of_products(rows: Array, others: Array) -> Array:
    """Returns the sum of `rows^T others` over all axes but the last, `[features, other]`, in `at_least_float32`."""
    steps = tuple(range(rows.ndim - 1))
    wide = at_least_float32(others.dtype)
    return jax.lax.dot_general(rows, others, ((steps, steps), ((), ())), preferred_element_type=wide)


def apply_mask(values: Array, mask: Array | None) -> Array:
    """Multiplies `values` with the mask, in their dtype; None leaves them unchanged."""
    return values if mask is None else values * mask.astype(values.dtype)


def are_ids(inputs: Array) -> bool:
    """Returns whether inputs are ids, which represent one-hot vectors `[features]`."""
    return jnp.issubdtype(inputs.dtype, jnp.integer)


def project(params: Params, inputs: Array) -> Array:
    """Returns `inputs @ W + b`, or `W[inputs] + b` for ids."""
    weights = params["W"]
    if are_ids(inputs):
        return weights[inputs].astype(at_least_float32(weights.dtype)) + params["b"]
    return product(inputs, weights) + params["b"]


def poison(params: Params, ids: Array) -> Params:
    """Makes `params` turn all results NaN if an id has no row in `W`; a check in each step would double its time."""
    known = _have_rows(params, ids).all()
    return params | {"b": params["b"] + jnp.where(known, 0, jnp.nan).astype(params["b"].dtype)}


def poison_rows(params: Params, ids: Array, projected: Array) -> Array:
    """Makes `x W + b` NaN where an id has no row in `W`: as `poison`, where a test of all ids would be a kernel."""
    return jnp.where(_have_rows(params, ids)[..., None], projected, jnp.nan)


def _have_rows(params: Params, ids: Array) -> Array:
    return (ids >= 0) & (ids < params["W"].shape[0])
