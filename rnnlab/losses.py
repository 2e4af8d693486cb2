"""Losses of predictions, as pure functions of arrays.

Imports nothing from the rest of rnnlab.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "time batch vocabulary"],
    labels: Int[Array, "time batch"],
    seq_lengths: Int[Array, "batch"],
    *,
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Sum over all labels within `seq_lengths` of -log p, in nats; divide by the sum of `seq_lengths` for the mean.

    With label smoothing (Szegedy et al. 2016, arXiv 1512.00567) a share `smoothing` of each target is spread evenly
    over the vocabulary. Logits of bfloat16 are summed in float32.
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    valid = jnp.arange(labels.shape[0])[:, None] < seq_lengths
    highest = jax.scipy.special.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    loss = highest - (1 - smoothing) * picked
    if smoothing:
        loss -= smoothing * logits.mean(-1)
    return jnp.sum(jnp.where(valid, loss, 0))
