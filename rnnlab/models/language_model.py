"""A language model: predicts the next token after each token of a text, with a state carried from piece to piece."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import State
from rnnlab.models.dropout import draw_mask
from rnnlab.models.embedding import Lookup, rows
from rnnlab.models.precision import Embed, Linear, compute_in
from rnnlab.models.recurrent import Stack
from rnnlab.scans.plan import is_known
from rnnlab.scans.product import apply_mask


class Read(NamedTuple):
    """The outputs of a model for a piece of text.

    `logits` `[time, batch, vocabulary]` of the token after each; `states` after the last step; the last layer's
    `outputs` `[time, batch, features]`, and the same under output dropout, `dropped`.
    """

    logits: Array
    states: tuple[State, ...]
    outputs: Array
    dropped: Array


class LanguageModel(nnx.Module):
    """embedding -> recurrent stack -> output layer.

    Main arguments:
      vocabulary_size: the number of ids.
      embedding: the size of an embedding; 0 gives the stack one-hot vectors.
      tied_embeddings: the output layer uses the matrix of the embedding (Press and Wolf 2017, arXiv 1608.05859; Inan et
        al. 2017, arXiv 1611.01462).
      stack: arguments of `Stack`, without batch norm, which would leak later steps into earlier ones.

    Other arguments:
      embedding_dropout: the rate at which tokens of the vocabulary have a zero embedding throughout a batch (Gal and
        Ghahramani 2016, arXiv 1512.05287).
      input_dropout, output_dropout: rates on the inputs of the stack and of the output layer.
      variational: draw these masks, and those of the stack, once for all steps.
      dtype: of products: "float32" or "bfloat16" (`rnnlab.models.compute_in`).

    Raises:
      ValueError: as `Stack`, tied embeddings of another size than the last layer, an embedding option without
        embeddings, or batch norm.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        embedding: int,
        tied_embeddings: bool = False,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        variational: bool = False,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **stack,
    ):
        if stack.get("block") == "prenorm" and stack.get("norm") == "batch":
            raise ValueError("norm: 'batch' would leak later steps into a step; use 'layer'")
        _check_embedding(embedding, tied_embeddings, embedding_dropout, input_dropout)
        self.vocabulary_size, self.tied_embeddings, self.variational = vocabulary_size, tied_embeddings, variational
        self.embedding_dropout, self.input_dropout = embedding_dropout, input_dropout
        self.output_dropout = output_dropout
        self.embedding = Embed(vocabulary_size, embedding, rngs=rngs) if embedding else None
        self.stack = Stack(in_features=embedding or vocabulary_size, variational=variational, rngs=rngs, **stack)
        if not tied_embeddings:
            self.output = Linear(self.stack.out_features, vocabulary_size, wide=True, rngs=rngs)
        elif self.stack.out_features == embedding:
            self.output_bias = nnx.Param(jnp.zeros((vocabulary_size,)))
        else:
            raise ValueError(
                f"tied_embeddings: the last layer has {self.stack.out_features} features, the embedding {embedding}; "
                "they must be the same (sizes sets the features of each layer)"
            )
        compute_in(dtype, self)

    def start(self, batch: int) -> tuple[State, ...]:
        """Returns the states before the first token of a text."""
        return self.stack.initial_states(batch)

    def __call__(
        self,
        tokens: Int[Array, "time batch"],
        states: tuple[State, ...],
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Read:
        """Reads a piece of text.

        Args:
          tokens: ids.
          states: from `start`, or from the piece before.
          seq_lengths: the number of steps to read; the states are those after them, logits beyond them are undefined.
          rngs: for training, with the stream `dropout`.
        """
        noise = self.stack.draw(rngs, *tokens.shape)
        outputs, states = self.stack(self._embed(tokens, rngs), states, seq_lengths=seq_lengths, noise=noise)
        dropped = apply_mask(outputs, draw_mask(rngs, self.output_dropout, outputs.shape, variational=self.variational))
        return Read(self.logits(dropped), states, outputs, dropped)

    def _embed(self, tokens: Array, rngs: nnx.Rngs | None) -> Array | Lookup:
        """Returns the input of the stack; embeddings without per-step dropout stay a `Lookup` where that costs less."""
        if self.embedding is None:
            return tokens
        types = draw_mask(rngs, self.embedding_dropout, (self.vocabulary_size, 1))
        looked_up = Lookup(tokens, apply_mask(self.embedding.embedding[...], types))
        mask = draw_mask(rngs, self.input_dropout, looked_up.shape, variational=self.variational)
        if mask is None and (not is_known(tokens.size) or self.vocabulary_size <= tokens.size):
            return looked_up
        return apply_mask(rows(looked_up).astype(self.embedding.dtype), mask)

    def logits(self, read: Float[Array, "... features"]) -> Float[Array, "... vocabulary"]:
        """Applies the output layer."""
        if self.embedding is None or not self.tied_embeddings:
            return self.output(read)
        return self.embedding.attend(read) + self.output_bias[...]


def _check_embedding(size: int, tied: bool, embedding_dropout: float, input_dropout: float) -> None:
    options = {"tied_embeddings": tied, "embedding_dropout": embedding_dropout, "input_dropout": input_dropout}
    for name, value in options.items():
        if value and not size:
            raise ValueError(f"{name}: {value} needs an embedding, whose size is 0")
