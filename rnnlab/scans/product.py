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


def sum_of_products(rows: Array, others: Array) -> Array:
    """Returns the sum over time and batch of `rows^T others`, `[features, other features]`, in `at_least_float32`.

    Where several devices may share the batch, time and batch stay apart: as one axis it could not be divided, and each
    device would get all rows and multiply them all. Otherwise they are one, which saves XLA's CPU backend a copy.
    """
    wide = at_least_float32(others.dtype)
    if not may_be_divided():
        rows, others = (v.reshape(-1, v.shape[-1]) for v in (rows, others))
        return jnp.matmul(rows.T, others, preferred_element_type=wide)
    steps = ((0, 1), (0, 1))
    return jax.lax.dot_general(rows, others, (steps, ((), ())), preferred_element_type=wide)


def apply_mask(values: Array, mask: Array | None) -> Array:
    """Multiplies `values` with the mask; None leaves them unchanged."""
    return values if mask is None else values * mask


def are_ids(inputs: Array) -> bool:
    """Returns whether inputs are ids, each of which stands for a one-hot vector `[features]`."""
    return jnp.issubdtype(inputs.dtype, jnp.integer)


def project(params: Params, inputs: Array) -> Array:
    """Returns `inputs @ W + b`, or `W[inputs] + b` for ids."""
    weights = params["W"]
    if are_ids(inputs):
        return weights[inputs].astype(at_least_float32(weights.dtype)) + params["b"]
    return product(inputs, weights) + params["b"]


def poison(params: Params, ids: Array) -> Params:
    """Makes `params` turn all results NaN if an id has no row in `W`; a check in each step would double its time."""
    known = ((ids >= 0) & (ids < params["W"].shape[0])).all()
    return params | {"b": params["b"] + jnp.where(known, 0, jnp.nan).astype(params["b"].dtype)}
