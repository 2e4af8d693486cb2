"""From the outputs of all steps of a sequence to one vector."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.choice import check_choice

POOLINGS = ("last", "mean", "max", "mean_max", "attention")


class Pooling(nnx.Module):
    """One vector of the outputs of a sequence, whatever its padding.

    Args:
      kind: "last", the output at each direction's last step; "mean" or "max" of each feature over the steps;
        "mean_max", both side by side; "attention", the mean by weights softmax(u . tanh(W y_t + b)) (Yang et al. 2016,
        N16-1174).
      features: of an output; the first half is of the forward direction where there are two.
      directions: 1 or 2.

    Raises:
      ValueError: an unknown kind.
    """

    def __init__(self, kind: str, features: int, *, directions: int = 1, rngs: nnx.Rngs):
        self.kind, self.directions = check_choice("pooling", kind, POOLINGS), directions
        self.out_features = 2 * features if kind == "mean_max" else features
        if kind == "attention":
            self.hidden = nnx.Linear(features, features, rngs=rngs)
            self.score = nnx.Linear(features, 1, use_bias=False, rngs=rngs)

    def __call__(
        self, outputs: Float[Array, "time batch features"], seq_lengths: Int[Array, "batch"] | None = None
    ) -> Float[Array, "batch out"]:
        """Returns the vector of each sequence; 0 for one of length 0."""
        time, batch, _ = outputs.shape
        lengths = jnp.full(batch, time) if seq_lengths is None else seq_lengths
        valid = (jnp.arange(time)[:, None] < lengths)[..., None]
        if self.kind == "last":
            return self._last(outputs, lengths)
        if self.kind == "attention":
            scores = jnp.where(valid, self.score(jnp.tanh(self.hidden(outputs))), -jnp.inf)
            weights = jnp.where(valid, jax.nn.softmax(scores, axis=0), 0)  # of no steps at all it is NaN
            return (jnp.where(valid, outputs, 0) * weights).sum(0)
        mean = jnp.where(valid, outputs, 0).sum(0) / jnp.maximum(lengths, 1)[:, None]
        if self.kind == "mean":
            return mean
        largest = jnp.where(lengths[:, None] > 0, jnp.where(valid, outputs, -jnp.inf).max(0), 0)
        return largest if self.kind == "max" else jnp.concatenate([mean, largest], axis=-1)

    def _last(self, outputs: Array, lengths: Array) -> Array:
        at_end = jnp.take_along_axis(outputs, jnp.maximum(lengths - 1, 0)[None, :, None], axis=0)[0]
        if self.directions == 1:
            found = at_end
        else:
            forwards, backwards = jnp.split(at_end, 2, axis=-1)[0], jnp.split(outputs[0], 2, axis=-1)[1]
            found = jnp.concatenate([forwards, backwards], axis=-1)
        return jnp.where(lengths[:, None] > 0, found, 0)
