"""Losses of predictions, as pure functions of arrays: weighted sums, to be divided by the sum of the weights.

Imports nothing from the rest of rnnlab.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Real


def length_weights(seq_lengths: Int[Array, "batch"], time: int) -> Bool[Array, "time batch"]:
    """Makes the weights of labels `[time, batch]`: True within `seq_lengths`."""
    return jnp.arange(time)[:, None] < seq_lengths


def cross_entropy(
    logits: Float[Array, "*labels vocabulary"],
    labels: Int[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
    *,
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Sums -log p over all labels, in nats, each times its weight; a label of weight 0 may have any value.

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
    """Sums the squared differences, each times its weight; a label of weight 0 may have any value."""
    return _weighted(jnp.square(outputs - labels), weights)


def absolute_error(
    outputs: Float[Array, "*labels"],
    labels: Float[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
) -> Float[Array, ""]:
    """Sums the absolute differences, each times its weight; a label of weight 0 may have any value."""
    return _weighted(jnp.abs(outputs - labels), weights)


def quantile_loss(
    outputs: Float[Array, "*labels quantiles"],
    labels: Float[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
    quantiles: Float[Array, "quantiles"],
) -> Float[Array, ""]:
    """Sums the pinball loss (Koenker and Bassett 1978) of each label, the mean over the quantiles, times its weight.

    An output below the label by d costs q d, one above it by d costs (1 - q) d; for the median this is half the
    absolute error.
    """
    below = labels[..., None] - outputs
    return _weighted(jnp.maximum(quantiles * below, (quantiles - 1) * below).mean(-1), weights)


def normal_loss(
    mean: Float[Array, "*labels"],
    scale: Float[Array, "*labels"],
    labels: Float[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
) -> Float[Array, ""]:
    """Sums -log p of the labels, in nats, under normal distributions with mean and standard deviation, each times its
    weight."""
    return _weighted(-jax.scipy.stats.norm.logpdf(labels, mean, scale), weights)


def student_loss(
    mean: Float[Array, "*labels"],
    scale: Float[Array, "*labels"],
    freedom: Float[Array, "*labels"],
    labels: Float[Array, "*labels"],
    weights: Real[Array, "*labels"] | Bool[Array, "*labels"],
) -> Float[Array, ""]:
    """Sums -log p of the labels, in nats, under Student distributions with location, scale and degrees of freedom, each
    times its weight."""
    return _weighted(-jax.scipy.stats.t.logpdf(labels, freedom, mean, scale), weights)


def binary_cross_entropy(
    logits: Float[Array, "*steps labels"],
    labels: Real[Array, "*steps labels"] | Bool[Array, "*steps labels"],
    weights: Real[Array, "*steps"] | Bool[Array, "*steps"],
) -> Float[Array, ""]:
    """Sums -log p over all labels of each step, in nats, times the weight of the step. Labels are independently on (1)
    or off (0); those of weight 0 may have any value."""
    return _weighted((jax.nn.softplus(logits) - labels * logits).sum(-1), weights)


def _weighted(losses: Array, weights: Array) -> Array:
    return jnp.sum(jnp.where(weights, losses * weights, 0))
