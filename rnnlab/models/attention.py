"""Attention over the encoder's outputs, with the padding masked out."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from rnnlab.choice import check_choice
from rnnlab.models.precision import Linear, einsum

SOFT = ("dot", "general", "additive")
ATTENTIONS = ("none", *SOFT, "monotonic")


class Attention(nnx.Module):
    """Scores each encoder step against a query and returns the weighted mean of the encoder's outputs.

        dot       score(q, m) = q . m                       (Luong, Pham and Manning 2015, arXiv 1508.04025)
        general   score(q, m) = q . (m K)                   (the same)
        additive  score(q, m) = v . tanh(q Q + m K + b)     (Bahdanau, Cho and Bengio 2015, arXiv 1409.0473)

    Args:
      kind: "dot", "general" or "additive".
      query_features, memory_features: sizes of the query and of the encoder's outputs.

    Raises:
      ValueError: an unknown kind, or "dot" with two different sizes.
    """

    def __init__(self, kind: str, query_features: int, memory_features: int, *, rngs: nnx.Rngs):
        self.kind = check_choice("attention", kind, SOFT)
        if kind == "dot" and query_features != memory_features:
            raise ValueError(
                f"attention: 'dot' needs a decoder state of the size of the encoder's outputs, but they are "
                f"{query_features} and {memory_features}; make them equal or use 'general'"
            )
        if kind != "dot":
            self.project_keys = Linear(memory_features, query_features, use_bias=False, rngs=rngs)
        if kind == "additive":
            self.project_query = Linear(query_features, query_features, rngs=rngs)
            self.score = Linear(query_features, 1, use_bias=False, wide=True, rngs=rngs)

    def keys(self, memory: Float[Array, "source batch memory"]) -> Float[Array, "source batch query"]:
        """Returns the keys, which are computed once per source."""
        return memory if self.kind == "dot" else self.project_keys(memory)

    def scores(
        self, query: Float[Array, "target batch query"], keys: Float[Array, "source batch query"]
    ) -> Float[Array, "target batch source"]:
        """Returns the score of each encoder step against each query."""
        if self.kind != "additive":
            return einsum("tbq,sbq->tbs", query, keys, dtype=keys.dtype)
        hidden = jnp.tanh(self.project_query(query)[:, None] + keys[None])
        return self.score(hidden)[..., 0].transpose(0, 2, 1)

    def __call__(
        self,
        query: Float[Array, "target batch query"],
        keys: Float[Array, "source batch query"],
        memory: Float[Array, "source batch memory"],
        valid: Bool[Array, "source batch"],
    ) -> tuple[Float[Array, "target batch memory"], Float[Array, "target batch source"]]:
        """Returns the context of each query and its weights, which are 0 in the padding and sum to 1.

        The context of an empty source is 0.
        """
        scores = self.scores(query, keys)
        allowed = valid.T[None]
        weights = jax.nn.softmax(jnp.where(allowed, scores, jnp.finfo(scores.dtype).min)) * allowed
        found = einsum("tbs,sbm->tbm", weights, memory, dtype=memory.dtype)
        return found.astype(memory.dtype), weights
