"""Embedded ids, looked up late: what the first layer makes of an embedding is the same wherever its id stands."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.scans.plan import is_known
from rnnlab.scans.product import apply_mask


class Lookup(NamedTuple):
    """The rows of `table` `[vocabulary, features]` that `ids` `[time, batch]` name, not yet looked up."""

    ids: Int[Array, "time batch"]
    table: Float[Array, "vocabulary features"]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the embeddings, `(time, batch, features)`."""
        return (*self.ids.shape, self.table.shape[1])


def rows(inputs: Array | Lookup) -> Float[Array, "time batch features"]:
    """The embeddings themselves; NaN for an id that the table has no row for."""
    return jnp.take(inputs.table, inputs.ids, axis=0) if isinstance(inputs, Lookup) else inputs


def embed(embedding: nnx.Embed, ids: Int[Array, "time batch"], mask: Array | None) -> Array | Lookup:
    """Embeddings `[time, batch, features]`, under a dropout mask if there is one.

    Where nothing is dropped and ids outnumber the vocabulary they stay a `Lookup`: to project the table costs less than
    to project each embedding. So do ids of a symbolic number (`jax.export`), which will mostly be many.
    """
    if mask is None and (not is_known(ids.size) or embedding.num_embeddings <= ids.size):
        return Lookup(ids, embedding.embedding[...])
    return apply_mask(embedding(ids), mask)
