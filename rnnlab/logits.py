"""Operations on logits. Imports nothing from the rest of rnnlab."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def without_tokens(logits: Float[Array, "... vocabulary"], ids: Sequence[int]) -> Float[Array, "... vocabulary"]:
    """Sets the logits of `ids` to -inf: tokens that an output never contains."""
    return jnp.where(np.isin(np.arange(logits.shape[-1]), ids), -jnp.inf, logits)
