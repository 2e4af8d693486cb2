"""The encoder: many-to-one for the context, many-to-many for the attention."""

from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import State
from rnnlab.models.dropout import draw_mask
from rnnlab.models.embedding import embed
from rnnlab.models.precision import Embed
from rnnlab.models.recurrent import Stack
from rnnlab.scans.product import apply_mask


class Encoder(nnx.Module):
    """dropout(embedding) -> recurrent stack (Sutskever, Vinyals and Le 2014, arXiv 1409.3215).

    Args:
      vocabulary_size: number of source ids.
      embedding: size of an embedding.
      dropout: rate on the embeddings, and between layers.
      output_dropout: rate on the outputs.
      variational: draw each of these masks once for all steps.
      cell, features, layers, bidirectional, ...: as in `Stack`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        embedding: int,
        dropout: float = 0.0,
        output_dropout: float = 0.0,
        variational: bool = False,
        rngs: nnx.Rngs,
        **stack,
    ):
        self.dropout, self.output_dropout, self.variational = dropout, output_dropout, variational
        self.embedding = Embed(vocabulary_size, embedding, rngs=rngs)
        self.stack = Stack(in_features=embedding, dropout=dropout, variational=variational, rngs=rngs, **stack)

    def __call__(
        self, source: Int[Array, "source batch"], seq_lengths: Int[Array, "batch"], *, rngs: nnx.Rngs | None = None
    ) -> tuple[Float[Array, "source batch out"], tuple[State, ...]]:
        """Returns the outputs of each step, 0 in the padding, and the last state of each layer."""
        variational = self.variational
        mask = draw_mask(rngs, self.dropout, (*source.shape, self.embedding.features), variational=variational)
        embedded = embed(self.embedding, source, mask)
        outputs, states = self.stack(embedded, seq_lengths=seq_lengths, noise=self.stack.draw(rngs, *source.shape))
        return apply_mask(outputs, draw_mask(rngs, self.output_dropout, outputs.shape, variational=variational)), states
