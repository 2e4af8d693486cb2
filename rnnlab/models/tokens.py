"""Inputs of a stack from tokens: embeddings, and for words also the last states of a character encoder."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.models.dropout import draw_mask
from rnnlab.models.embedding import Lookup, embed
from rnnlab.models.precision import Embed
from rnnlab.models.recurrent import Stack
from rnnlab.scans.product import apply_mask


class Words(NamedTuple):
    """Words by their `ids` `[time, batch]`, and by the ids of their `characters` `[time, batch, letters]`, 0 where a
    word is shorter."""

    ids: Any  # Int[Array, "time batch"], on the host or on a device
    characters: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the ids."""
        return self.ids.shape


class TokenInputs(nnx.Module):
    """Embeddings of ids, under dropout.

    Args:
      vocabulary_size: number of ids.
      embedding: size of an embedding.
      dropout: rate on the embeddings; `variational` draws the mask once for all steps.
    """

    def __init__(
        self, vocabulary_size: int, embedding: int, *, dropout: float = 0.0, variational: bool = False, rngs: nnx.Rngs
    ):
        self.dropout, self.variational = dropout, variational
        self.embedding = Embed(vocabulary_size, embedding, rngs=rngs)
        self.features = embedding

    def __call__(self, ids: Int[Array, "time batch"], *, rngs: nnx.Rngs | None = None) -> Array | Lookup:
        """Returns embeddings `[time, batch, features]`, looked up late where that costs less."""
        shape = (*ids.shape, self.features)
        return embed(self.embedding, ids, draw_mask(rngs, self.dropout, shape, variational=self.variational))


class WordInputs(nnx.Module):
    """An embedding of each word, concatenated with the last states of a bidirectional LSTM over its characters (Lample
    et al. 2016, arXiv 1603.01360).

    Args:
      vocabulary_size, characters: number of ids of words, and of characters.
      embedding: size of the embedding of a word.
      character_features: size of each direction of the encoder, and of the embedding of a character.
      dropout: rate on the inputs of the stack; `variational` draws the mask once for all steps.
    """

    def __init__(
        self,
        vocabulary_size: int,
        characters: int,
        embedding: int,
        character_features: int,
        *,
        dropout: float = 0.0,
        variational: bool = False,
        rngs: nnx.Rngs,
    ):
        self.dropout, self.variational = dropout, variational
        self.embedding = Embed(vocabulary_size, embedding, rngs=rngs)
        self.characters = Embed(characters, character_features, rngs=rngs)
        self.spelling = Stack("lstm", character_features, character_features, bidirectional=True, rngs=rngs)
        self.features = embedding + self.spelling.out_features

    def __call__(self, words: Words, *, rngs: nnx.Rngs | None = None) -> Float[Array, "time batch features"]:
        """Returns the input of the stack for each word."""
        letters = words.characters.reshape(-1, words.characters.shape[-1]).T
        lengths = (letters > 0).sum(0)
        noise = self.spelling.draw(rngs, *letters.shape)
        _, states = self.spelling(embed(self.characters, letters, None), seq_lengths=lengths, noise=noise)
        spelled = states[-1][0].reshape(*words.shape, -1)
        embedded = self.embedding(words.ids)
        found = jnp.concatenate([embedded, spelled.astype(embedded.dtype)], axis=-1)
        return apply_mask(found, draw_mask(rngs, self.dropout, found.shape, variational=self.variational))
