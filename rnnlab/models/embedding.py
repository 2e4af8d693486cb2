"""Embedded ids, looked up late: the first layer's projection of an embedding does not depend on its position."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.scans.plan import is_known
from rnnlab.scans.product import apply_mask, at_least_float32


class Lookup(NamedTuple):
    """The rows `ids` `[time, batch]` of `table` `[vocabulary, features]`, not yet looked up."""

    ids: Int[Array, "time batch"]
    table: Float[Array, "vocabulary features"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the embeddings, `(time, batch, features)`."""
        return (*self.ids.shape, self.table.shape[1])


def rows(inputs: Array | Lookup) -> Float[Array, "time batch features"]:
    """Returns the embeddings; NaN for an id outside the table."""
    if not isinstance(inputs, Lookup):
        return inputs
    table = inputs.table.astype(at_least_float32(inputs.table.dtype))  # so that its gradient is summed in float32
    return jnp.take(table, inputs.ids, axis=0).astype(inputs.table.dtype)


def embed(embedding: nnx.Embed, ids: Int[Array, "time batch"], mask: Array | None) -> Array | Lookup:
    """Returns embeddings `[time, batch, features]`, under a dropout mask if there is one.

    Without dropout, and with more ids than the vocabulary, they stay a `Lookup`: projecting the table costs less than
    projecting each embedding. A symbolic number of ids (`jax.export`) counts as many.
    """
    if mask is None and (not is_known(ids.size) or embedding.num_embeddings <= ids.size):
        return Lookup(ids, embedding.embedding[...])
    return apply_mask(embedding(ids), mask)
