"""Products with weights: in the weights' precision, summed in float32 or better; shared by every method of scan."""

import jax.numpy as jnp
from jax import Array


def at_least_float32(dtype) -> jnp.dtype:
    """The dtype of states and sums: float32 for anything narrower, else `dtype` itself."""
    return jnp.promote_types(dtype, jnp.float32)


def product(rows: Array, weights: Array) -> Array:
    """`rows @ weights` with the operands in the weights' dtype (bfloat16, say) and the sum in `at_least_float32`."""
    return jnp.matmul(rows.astype(weights.dtype), weights, preferred_element_type=at_least_float32(weights.dtype))
