"""Random masks, drawn before a loop over time and applied inside it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array


class Noise(NamedTuple):
    """The draws for a batch: `steps`, arrays `[time, ...]` that are split like the time, and those for `all` steps.

    None marks what is not drawn.
    """

    steps: Any = ()
    all: Any = ()

    def at(self, steps: Any) -> "Noise":
        """Returns the noise of one step; its entries of `steps` have no time axis."""
        return Noise(jax.tree.map(lambda drawn: drawn[None], steps), self.all)


def draw_mask(rngs: nnx.Rngs | None, rate: float, shape: tuple[int, ...], *, variational: bool = False) -> Array | None:
    """Draws a dropout mask of `shape` (Srivastava et al. 2014): 0 with probability `rate`, else 1 / (1 - rate).

    Args:
      rngs: the stream `dropout` is used; None means evaluation.
      rate: from 0 to below 1. Returns None at 0 and in evaluation.
      variational: one mask for all of the first axis, time (Gal and Ghahramani 2016, arXiv 1512.05287).
    """
    if rngs is None or rate == 0:
        return None
    drawn = (1, *shape[1:]) if variational else shape
    mask = jax.random.bernoulli(rngs.dropout(), 1 - rate, drawn).astype(jnp.float32) / (1 - rate)
    return jnp.broadcast_to(mask, shape)
