"""Encoder and decoder together."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import State
from rnnlab.choice import check_choice
from rnnlab.models.alignment import MonotonicDecoder
from rnnlab.models.attention import ATTENTIONS
from rnnlab.models.bridge import Bridge
from rnnlab.models.decoder import Decoder, Memory
from rnnlab.models.encoder import Encoder
from rnnlab.models.precision import compute_in


class Seq2Seq(nnx.Module):
    """An encoder-decoder model (Sutskever et al. 2014; Cho et al. 2014).

    Args:
      source_size, target_size: number of ids of the two vocabularies.
      encoder, decoder: arguments of `Encoder` and of `Decoder`, each with its own cell and sizes.
      attention: as in `Decoder`, or "monotonic" (`MonotonicDecoder`), for small vocabularies.
      bridge, context, input_feeding, tied_embeddings, never_predicted: as in `Bridge` and `Decoder`.
      teacher_forcing: share of the decoder's inputs in training taken from the target; the rest are its own predictions
        (scheduled sampling: Bengio et al. 2015, arXiv 1506.03099).
      dtype: of products: "float32" or "bfloat16" (`rnnlab.models.compute_in`).

    Raises:
      ValueError: a name that is not allowed, sizes that do not fit, or a ratio outside 0 to 1.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        encoder: dict,
        decoder: dict,
        bridge: str = "dense",
        attention: str = "none",
        context: str = "init",
        input_feeding: bool = False,
        tied_embeddings: bool = False,
        teacher_forcing: float = 1.0,
        never_predicted: tuple[int, ...] = (),
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        if not 0 <= teacher_forcing <= 1:
            raise ValueError(f"teacher_forcing: {teacher_forcing} is not a ratio from 0 to 1")
        self.teacher_forcing = teacher_forcing
        self.encoder = Encoder(source_size, rngs=rngs, **encoder)
        memory_features = self.encoder.stack.out_features
        options: dict[str, Any] = {
            "context": context,
            "input_feeding": input_feeding,
            "tied_embeddings": tied_embeddings,
            "never_predicted": never_predicted,
        }
        if check_choice("attention", attention, ATTENTIONS) == "monotonic":
            self.decoder: Decoder = MonotonicDecoder(target_size, memory_features, rngs=rngs, **options, **decoder)
        else:
            self.decoder = Decoder(target_size, memory_features, attention=attention, rngs=rngs, **options, **decoder)
        self.bridge = Bridge(bridge, self.encoder.stack, self.decoder.stack, rngs=rngs)
        compute_in(dtype, self)

    def encode(
        self, source: Int[Array, "source batch"], seq_lengths: Int[Array, "batch"], *, rngs: nnx.Rngs | None = None
    ) -> tuple[tuple[State, ...], Memory]:
        """Returns the decoder's initial states and memory of `source` `[source, batch]`; no rngs means evaluation."""
        outputs, states = self.encoder(source, seq_lengths, rngs=rngs)
        valid = jnp.arange(source.shape[0])[:, None] < seq_lengths
        memory = self.decoder.remember(outputs, valid, self.encoder.stack.last(outputs, states, seq_lengths))
        states = self.bridge(states, self.decoder.stack.initial_states(source.shape[1]))
        return self.decoder.start(states, memory), memory

    def step(
        self, states: tuple[State, ...], tokens: Int[Array, "batch"], memory: Memory
    ) -> tuple[tuple[State, ...], tuple[Float[Array, "batch vocabulary"], Float[Array, "batch source"] | None]]:
        """Reads one token of each sequence; returns the decoder's new states, then the logits of the next token and the
        attention weights (None without attention)."""
        return self.decoder.step(states, tokens, memory)

    def __call__(
        self,
        source: Int[Array, "source batch"],
        seq_lengths: Int[Array, "batch"],
        targets: Int[Array, "target batch"],
        *,
        rngs: nnx.Rngs | None = None,
        teacher_forcing: Float[Array, ""] | None = None,
    ) -> Float[Array, "target batch vocabulary"]:
        """Returns logits `[target, batch, vocabulary]` of the token after each of `targets`.

        Args:
          source: ids `[source, batch]`; seq_lengths: `[batch]`.
          targets: the decoder's inputs `[target, batch]`, shifted by one against its labels.
          rngs: streams `dropout` and `sampling`, for training only. Without them there is no dropout and every input
            comes from the target.
          teacher_forcing: replaces the model's own share.
        """
        states, memory = self.encode(source, seq_lengths, rngs=rngs)
        if rngs is None or (teacher_forcing is None and self.teacher_forcing == 1):
            return self.decoder.teacher_forced(targets, states, memory, rngs=rngs)[0]
        share = self.teacher_forcing if teacher_forcing is None else teacher_forcing
        forced = jax.random.bernoulli(rngs.sampling(), share, targets.shape)
        return self.decoder.teacher_forced(targets, states, memory, forced=forced, rngs=rngs)[0]
