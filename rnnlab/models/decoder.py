"""The decoder: one-to-many, a step at a time or a whole target at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import State
from rnnlab.models.attention import ATTENTIONS, Attention
from rnnlab.models.choice import check_choice
from rnnlab.models.dropout import apply_mask, draw_mask
from rnnlab.models.embedding import Lookup, embed, rows
from rnnlab.models.recurrent import Stack

CONTEXTS = ("init", "every_step")


class Memory(NamedTuple):
    """What a decoder knows of a source: `outputs` `[source, batch, memory]`, the attention's `keys` of them (without
    attention the outputs themselves), which steps are `valid` `[source, batch]`, and the encoder's last output
    `context` `[batch, memory]`."""

    outputs: Array
    keys: Array
    valid: Array
    context: Array


class Decoder(nnx.Module):
    """dropout(embedding) -> recurrent stack -> logits, with or without attention.

    Args:
      vocabulary_size: number of target ids.
      memory_features: size of the encoder's outputs.
      attention: "none"; "dot" and "general" attend with the stack's output and mix it with what they find,
        tanh([found; h] K) (Luong et al. 2015), so that a known target is decoded in one scan; "additive" attends with
        the previous state and feeds what it finds into the step and the output layer (Bahdanau et al. 2015).
      context: "init" (the encoder's last state only starts the decoder, Sutskever et al. 2014) or "every_step" (it
        also enters each step and the output layer, Cho et al. 2014).
      tied_embeddings: the output layer's matrix is the embedding's (Press and Wolf 2017, arXiv 1608.05859).
      embedding, dropout, cell, features, layers, residual, initial_state: as in `Encoder`.

    Raises:
      ValueError: an unknown attention or context.
    """

    def __init__(
        self,
        vocabulary_size: int,
        memory_features: int,
        *,
        embedding: int,
        features: int,
        attention: str = "none",
        context: str = "init",
        tied_embeddings: bool = False,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
        **stack,
    ):
        check_choice("attention", attention, ATTENTIONS)
        check_choice("context", context, CONTEXTS)
        self.dropout, self.every_step = dropout, context == "every_step"
        self.tied_embeddings = tied_embeddings
        self.attends_before, self.attends_after = attention == "additive", attention in ("dot", "general")
        self.embedding = nnx.Embed(vocabulary_size, embedding, rngs=rngs)
        extra = memory_features * (self.every_step + self.attends_before)
        self.stack = Stack(in_features=embedding + extra, features=features, dropout=dropout, rngs=rngs, **stack)
        if attention != "none":
            self.attention = Attention(attention, features, memory_features, rngs=rngs)
        if self.attends_after:
            self.mix = nnx.Linear(features + memory_features, features, use_bias=False, rngs=rngs)
        self.read_features = read = features + extra + (embedding if extra else 0)
        self.narrow = nnx.Linear(read, embedding, rngs=rngs) if tied_embeddings and read != embedding else None
        if tied_embeddings:
            self.output_bias = nnx.Param(jnp.zeros((vocabulary_size,)))
        else:
            self.output = nnx.Linear(read, vocabulary_size, rngs=rngs)

    def remember(self, outputs: Array, valid: Bool[Array, "source batch"], context: Array) -> Memory:
        """The memory of a source: the encoder's outputs and last output, with the keys computed once."""
        attends = self.attends_before or self.attends_after
        return Memory(outputs, self.attention.keys(outputs) if attends else outputs, valid, context)

    def teacher_forced(
        self,
        targets: Int[Array, "target batch"],
        states: tuple[State, ...],
        memory: Memory,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Float[Array, "target batch vocabulary"], Array | None]:
        """Logits after each of `targets` is read, and the attention weights `[target, batch, source]` if any."""
        embedding_mask, masks = self._draw_masks(rngs, targets)
        if not self.attends_before:
            embedded = embed(self.embedding, targets, embedding_mask)
            _, (read, weights) = self._advance(states, embedded, memory, masks)
            return self.logits(read), weights

        embedded = apply_mask(self.embedding(targets), embedding_mask)

        def step(states, at_step):
            embedded, masks = at_step
            return self._advance(states, embedded[None], memory, jax.tree.map(lambda m: m[None], masks))

        _, (read, weights) = jax.lax.scan(step, states, (embedded, masks))
        return self.logits(read[:, 0]), weights[:, 0]

    def sampled(
        self,
        targets: Int[Array, "target batch"],
        states: tuple[State, ...],
        memory: Memory,
        forced: Bool[Array, "target batch"],
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "target batch vocabulary"]:
        """Logits where a step reads its target if `forced`, else the likeliest token of the step before.

        Scheduled sampling at a fixed rate (Bengio et al. 2015, arXiv 1506.03099). The first step is always forced.
        """
        masks = self._draw_masks(rngs, targets)

        def step(carry, at_step):
            states, previous = carry
            target, force, (embedding_mask, masks) = at_step
            embedded = apply_mask(self.embedding(jnp.where(force, target, previous)), embedding_mask)
            masks = jax.tree.map(lambda m: m[None], masks)
            states, (read, _) = self._advance(states, embedded[None], memory, masks)
            logits = self.logits(read[0])
            return (states, logits.argmax(-1).astype(targets.dtype)), logits

        forced = forced.at[:1].set(True)
        _, logits = jax.lax.scan(step, (states, jnp.zeros_like(targets[0])), (targets, forced, masks))
        return logits

    def step(
        self, states: tuple[State, ...], tokens: Int[Array, "batch"], memory: Memory
    ) -> tuple[tuple[State, ...], tuple[Float[Array, "batch vocabulary"], Array | None]]:
        """Reads one token of each sequence: the new states, then logits and attention weights `[batch, source]`."""
        states, (read, weights) = self._advance(states, self.embedding(tokens)[None], memory, ())
        return states, (self.logits(read)[0], None if weights is None else weights[0])

    def _draw_masks(self, rngs: nnx.Rngs | None, targets: Array):
        time, batch = targets.shape
        embedding_mask = draw_mask(rngs, self.dropout, (time, batch, self.embedding.features))
        return embedding_mask, self.stack.draw_masks(rngs, time, batch)

    def _advance(self, states: tuple[State, ...], embedded: Array | Lookup, memory: Memory, masks):
        """Runs the stack over `embedded` `[time, batch, embedding]`; time is 1 where attention comes before the step.

        Returns the states, and what the output layer reads with the attention weights.
        """
        extra, weights = [], None
        if self.attends_before:
            found, weights = self.attention(states[-1][0][None], memory.keys, memory.outputs, memory.valid)
            extra.append(found)
        if self.every_step:
            extra.append(jnp.broadcast_to(memory.context, (embedded.shape[0], *memory.context.shape)))
        inputs = jnp.concatenate([rows(embedded), *extra], axis=-1) if extra else embedded
        hidden, states = self.stack(inputs, states, masks=masks)
        if self.attends_after:
            found, weights = self.attention(hidden, memory.keys, memory.outputs, memory.valid)
            hidden = jnp.tanh(self.mix(jnp.concatenate([found, hidden], axis=-1)))
        read = jnp.concatenate([hidden, *extra, rows(embedded)], axis=-1) if extra else hidden
        return states, (read, weights)

    def logits(self, read: Float[Array, "... read"]) -> Float[Array, "... vocabulary"]:
        """The output layer, of what it reads at each step (`read_features` numbers)."""
        if not self.tied_embeddings:
            return self.output(read)
        return self.embedding.attend(read if self.narrow is None else self.narrow(read)) + self.output_bias[...]
