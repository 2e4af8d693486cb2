"""Products with weights: in the weights' precision, summed in float32 or better; shared by every method of scan."""

import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Params


def at_least_float32(dtype) -> jnp.dtype:
    """The dtype of states and sums: float32 for anything narrower, else `dtype` itself."""
    return jnp.promote_types(dtype, jnp.float32)


def product(rows: Array, weights: Array) -> Array:
    """`rows @ weights` with the operands in the weights' dtype (bfloat16, say) and the sum in `at_least_float32`."""
    return jnp.matmul(rows.astype(weights.dtype), weights, preferred_element_type=at_least_float32(weights.dtype))


def apply_mask(values: Array, mask: Array | None) -> Array:
    """`values` times the mask; None leaves them as they are."""
    return values if mask is None else values * mask


def are_ids(inputs: Array) -> bool:
    """Whether inputs are ids, each in place of the one-hot vector `[features]` that it stands for."""
    return jnp.issubdtype(inputs.dtype, jnp.integer)


def project(params: Params, inputs: Array) -> Array:
    """`inputs @ W + b`, of ids `W[inputs] + b`."""
    weights = params["W"]
    if are_ids(inputs):
        return weights[inputs].astype(at_least_float32(weights.dtype)) + params["b"]
    return product(inputs, weights) + params["b"]


def poison(params: Params, ids: Array) -> Params:
    """`params` that make everything NaN if an id has no row in `W`: once, for a check in each step doubles its time."""
    known = ((ids >= 0) & (ids < params["W"].shape[0])).all()
    return params | {"b": params["b"] + jnp.where(known, 0, jnp.nan).astype(params["b"].dtype)}
