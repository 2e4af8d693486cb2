"""Losses of predictions, as pure functions of arrays: sums over what counts, to be divided by the sum of the weights.

Imports nothing from the rest of rnnlab.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Real


def length_weights(seq_lengths: Int[Array, "batch"], time: int) -> Bool[Array, "time batch"]:
    """Makes the weights of labels `[time, batch]` of which those within `seq_lengths` count."""
    return jnp.arange(time)[:, None] < seq_lengths


def cross_entropy(
    logits: Float[Array, "*labels vocabulary"],
    labels: Int[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
    *,
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Sums -log p over all labels, in nats, each times its weight; one of weight 0 may be anything.

    With label smoothing (Szegedy et al. 2016, arXiv 1512.00567) a share `smoothing` of each target is spread evenly
    over the vocabulary. Logits of bfloat16 are summed in float32.
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    highest = jax.scipy.special.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    loss = highest - (1 - smoothing) * picked
    if smoothing:
        loss -= smoothing * logits.mean(-1)
    return _weighted(loss, weights)


def squared_error(
    outputs: Float[Array, "*labels"],
    labels: Float[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
) -> Float[Array, ""]:
    """Sums the squared differences, each times its weight; one of weight 0 may be anything."""
    return _weighted(jnp.square(outputs - labels), weights)


def binary_cross_entropy(
    logits: Float[Array, "*steps labels"],
    labels: Real[Array, "*steps labels"] | Bool[Array, "*steps labels"],
    weights: Real[Array, "*steps"] | Bool[Array, "*steps"],
) -> Float[Array, ""]:
    """Sums -log p over all labels of each step, each of which is on (1) or off (0) by itself, in nats, times the weight
    of the step; one of weight 0 may be anything."""
    return _weighted((jax.nn.softplus(logits) - labels * logits).sum(-1), weights)


def _weighted(losses: Array, weights: Array) -> Array:
    return jnp.sum(jnp.where(weights, losses * weights, 0))
