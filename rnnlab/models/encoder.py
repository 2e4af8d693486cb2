"""The encoder: many-to-one for the context, many-to-many for the attention."""

from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import State
from rnnlab.models.dropout import draw_mask
from rnnlab.models.embedding import embed
from rnnlab.models.recurrent import Stack


class Encoder(nnx.Module):
    """dropout(embedding) -> recurrent stack (Sutskever, Vinyals and Le 2014, arXiv 1409.3215).

    Args:
      vocabulary_size: number of source ids.
      embedding: size of an embedding.
      dropout: rate on the embeddings, and between layers.
      cell, features, layers, bidirectional, residual, initial_state: as in `Stack`.
    """

    def __init__(self, vocabulary_size: int, *, embedding: int, dropout: float = 0.0, rngs: nnx.Rngs, **stack):
        self.dropout = dropout
        self.embedding = nnx.Embed(vocabulary_size, embedding, rngs=rngs)
        self.stack = Stack(in_features=embedding, dropout=dropout, rngs=rngs, **stack)

    def __call__(
        self, source: Int[Array, "source batch"], seq_lengths: Int[Array, "batch"], *, rngs: nnx.Rngs | None = None
    ) -> tuple[Float[Array, "source batch out"], tuple[State, ...]]:
        """Returns the outputs of each step, 0 in the padding, and the last state of each layer."""
        mask = draw_mask(rngs, self.dropout, (*source.shape, self.embedding.features))
        embedded = embed(self.embedding, source, mask)
        masks = self.stack.draw_masks(rngs, *source.shape)
        return self.stack(embedded, seq_lengths=seq_lengths, masks=masks)
