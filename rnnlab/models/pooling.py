"""From the outputs of all steps of a sequence to one vector."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.choice import check_choice
from rnnlab.models.precision import Linear

POOLINGS = ("mean", "max", "mean_max", "attention")


class Pooling(nnx.Module):
    """Pools the outputs of a sequence into one vector, ignoring the padding.

    Args:
      kind: "mean" or "max" of each feature over the steps; "mean_max", both concatenated; "attention", the mean with
        weights softmax(u . tanh(W y_t + b)) (Yang et al. 2016, N16-1174).
      features: of an output.

    Raises:
      ValueError: an unknown kind.
    """

    def __init__(self, kind: str, features: int, *, rngs: nnx.Rngs):
        self.kind = check_choice("pooling", kind, POOLINGS)
        self.out_features = 2 * features if kind == "mean_max" else features
        if kind == "attention":
            self.hidden = Linear(features, features, rngs=rngs)
            self.score = Linear(features, 1, use_bias=False, wide=True, rngs=rngs)

    def __call__(
        self, outputs: Float[Array, "time batch features"], seq_lengths: Int[Array, "batch"] | None = None
    ) -> Float[Array, "batch out"]:
        """Returns the vector of each sequence; 0 for one of length 0."""
        time, batch, _ = outputs.shape
        lengths = jnp.full(batch, time) if seq_lengths is None else seq_lengths
        valid = (jnp.arange(time)[:, None] < lengths)[..., None]
        if self.kind == "attention":
            scores = jnp.where(valid, self.score(jnp.tanh(self.hidden(outputs))), -jnp.inf)
            weights = jnp.where(valid, jax.nn.softmax(scores, axis=0), 0)  # without steps it is NaN
            return (jnp.where(valid, outputs, 0) * weights.astype(outputs.dtype)).sum(0)
        mean = jnp.where(valid, outputs, 0).sum(0) / jnp.maximum(lengths, 1)[:, None]
        if self.kind == "mean":
            return mean
        largest = jnp.where(lengths[:, None] > 0, jnp.where(valid, outputs, -jnp.inf).max(0), 0)
        return largest if self.kind == "max" else jnp.concatenate([mean, largest], axis=-1)
