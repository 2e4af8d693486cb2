"""Dropout (Srivastava et al. 2014) by masks that are drawn before a loop over time and applied inside it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array


def draw_mask(rngs: nnx.Rngs | None, rate: float, shape: tuple[int, ...]) -> Array | None:
    """A mask of `shape`: 0 with probability `rate`, else 1 / (1 - rate). None where nothing is dropped.

    Args:
      rngs: its stream `dropout` is drawn from; None means evaluation.
      rate: from 0 to below 1.
    """
    if rngs is None or rate == 0:
        return None
    return jax.random.bernoulli(rngs.dropout(), 1 - rate, shape).astype(jnp.float32) / (1 - rate)


def apply_mask(x: Array, mask: Array | None) -> Array:
    """`x` where nothing is dropped, else `x` times the mask."""
    return x if mask is None else x * mask
