"""The decoder: one-to-many, step by step (autoregressive) or over a whole target (teacher forcing)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import State
from rnnlab.choice import check_choice
from rnnlab.logits import without_tokens
from rnnlab.models.attention import SOFT, Attention
from rnnlab.models.blocks import layer_sizes
from rnnlab.models.dropout import Noise, draw_mask
from rnnlab.models.embedding import Lookup, embed, rows
from rnnlab.models.precision import Embed, Linear
from rnnlab.models.recurrent import Stack
from rnnlab.scans.machine import platform_in_use
from rnnlab.scans.product import apply_mask

CONTEXTS = ("init", "every_step")
_AFTER = ("dot", "general")  # attention that reads the output of a step


def _check(attention: str, context: str, input_feeding: bool, norm: str) -> None:
    """Refuses options of a decoder that are unknown, or do not go together."""
    check_choice("attention", attention, ("none", *SOFT))
    check_choice("context", context, CONTEXTS)
    if input_feeding and attention not in _AFTER:
        raise ValueError(f"input_feeding: requires attention dot or general, not {attention!r}")
    if norm == "batch":
        raise ValueError("norm: 'batch' would leak later steps into a decoder's step; use 'layer'")


class Memory(NamedTuple):
    """The encoded source: `outputs` `[source, batch, memory]`, their attention `keys` (without attention the outputs
    themselves), the `valid` steps `[source, batch]`, and the encoder's last output `context` `[batch, memory]`."""

    outputs: Array
    keys: Array
    valid: Array
    context: Array


class Decoder(nnx.Module):
    """dropout(embedding) -> recurrent stack -> logits, with or without attention.

    Args:
      vocabulary_size: number of target ids.
      memory_features: size of the encoder's outputs.
      attention: "none"; "dot" and "general" attend with the stack's output and mix it with the context found,
        tanh([context; h] K) (Luong et al. 2015), so a known target is decoded in one scan; "additive" attends with the
        previous state and feeds the context into the step and the output layer (Bahdanau et al. 2015). For hard
        monotonic attention see `MonotonicDecoder`.
      context: "init" (the encoder's last state only starts the decoder, Sutskever et al. 2014) or "every_step" (it
        also enters each step and the output layer, Cho et al. 2014).
      input_feeding: the attentional output of a step with "dot" or "general" attention also enters the next step (Luong
        et al. 2015, section 3.3), so a known target is decoded step by step.
      tied_embeddings: the output layer uses the matrix of the embedding (Press and Wolf 2017, arXiv 1608.05859).
      output_dropout: rate on the inputs of the output layer.
      never_predicted: ids that scheduled sampling never predicts, like the searches (BOS, PAD).
      embedding, dropout, variational, cell, features, layers, block, sizes, ...: as in `Encoder`.
      norm: of prenorm blocks. "batch" is refused: the statistics of a batch would leak later steps into earlier ones.

    Raises:
      ValueError: an unknown attention or context, input feeding or a context with an attention that does not support
        it, or batch norm.
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
        input_feeding: bool = False,
        tied_embeddings: bool = False,
        dropout: float = 0.0,
        output_dropout: float = 0.0,
        variational: bool = False,
        block: str = "plain",
        norm: str = "layer",
        sizes: Sequence[int] | str = (),
        layers: int = 1,
        never_predicted: tuple[int, ...] = (),
        rngs: nnx.Rngs,
        **stack,
    ):
        self.never_predicted = never_predicted
        _check(attention, context, input_feeding, norm)
        self.dropout, self.output_dropout, self.variational = dropout, output_dropout, variational
        self.every_step, self.input_feeding = context == "every_step", input_feeding
        self.tied_embeddings = tied_embeddings
        self.attends_before, self.attends_after = attention == "additive", attention in _AFTER
        made = layer_sizes(block, features, layers, sizes)[-1]
        self.embedding = Embed(vocabulary_size, embedding, rngs=rngs)
        extra = memory_features * (self.every_step + self.attends_before)
        self.stack = Stack(
            in_features=embedding + extra + made * input_feeding,
            features=features,
            layers=layers,
            block=block,
            norm=norm,
            sizes=sizes,
            dropout=dropout,
            variational=variational,
            rngs=rngs,
            **stack,
        )
        if attention != "none":
            self.attention = Attention(attention, made, memory_features, rngs=rngs)
        if self.attends_after:
            self.mix = Linear(made + memory_features, made, use_bias=False, rngs=rngs)
        self.read_features = read = made + extra + (embedding if extra else 0)
        self.narrow = Linear(read, embedding, rngs=rngs) if tied_embeddings and read != embedding else None
        if tied_embeddings:
            self.output_bias = nnx.Param(jnp.zeros((vocabulary_size,)))
        else:
            self.output = Linear(read, vocabulary_size, wide=True, rngs=rngs)

    @property
    def one_by_one(self) -> bool:
        """Whether the stack's input depends on attention at or before a step, which rules out a scan over a target."""
        return self.attends_before or self.input_feeding

    def start(self, states: tuple[State, ...], memory: Memory) -> tuple[State, ...]:
        """Returns the states before the first step: those of the stack, and zeros as the first input feeding."""
        return (*states, (jnp.zeros_like(states[-1][0]),)) if self.input_feeding else states

    def remember(self, outputs: Array, valid: Bool[Array, "source batch"], context: Array) -> Memory:
        """Returns the memory of a source: the encoder's outputs and last output, and the keys."""
        attends = self.attends_before or self.attends_after
        return Memory(outputs, self.attention.keys(outputs) if attends else outputs, valid, context)

    def teacher_forced(
        self,
        targets: Int[Array, "target batch"],
        states: tuple[State, ...],
        memory: Memory,
        *,
        forced: Bool[Array, "target batch"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Float[Array, "target batch vocabulary"], Array | None]:
        """Returns the logits after reading each of `targets`, and any attention weights `[target, batch, source]`.

        Where `forced` is False, a step instead reads the most likely token of the step before, excluding
        `never_predicted` (scheduled sampling: Bengio et al. 2015, arXiv 1506.03099); the first step always reads its
        target.
        """
        noise = self._draw(rngs, targets)
        if forced is not None:  # the choice of tokens has no gradient, so they can be found first
            graph, params = nnx.split(self)
            guesser = nnx.merge(graph, jax.lax.stop_gradient(params))
            targets = guesser._with_guesses(targets, states, memory, forced, *noise)
        return self._read(targets, states, memory, *noise)

    def _read(
        self,
        tokens: Array,
        states: tuple,
        memory: Memory,
        embedding_mask: Array | None,
        noise: Noise | None,
    ) -> tuple[Array, Array | None]:
        if not self.one_by_one:
            embedded = embed(self.embedding, tokens, embedding_mask)
            _, (read, weights) = self._advance(states, embedded, memory, noise)
            return self.logits(read), weights

        embedded = apply_mask(self.embedding(tokens), embedding_mask)

        def step(states, at_step):
            embedded, steps = at_step
            return self._advance(states, embedded[None], memory, noise and noise.at(steps))

        _, (read, weights) = jax.lax.scan(step, states, (embedded, noise and noise.steps))
        return self.logits(read[:, 0]), weights[:, 0]

    def _with_guesses(
        self,
        targets: Array,
        states: tuple[State, ...],
        memory: Memory,
        forced: Array,
        embedding_mask: Array | None,
        noise: Noise | None,
    ) -> Array:
        """Returns the input of each step: its target, or the prediction of the step before."""

        def step(carry, at_step):
            states, previous = carry
            target, force, embedding_mask, steps = at_step
            token = jnp.where(force, target, previous)
            embedded = apply_mask(self.embedding(token), embedding_mask)
            states, (logits, _) = self._step(token, embedded[None], states, memory, noise and noise.at(steps))
            predicted = without_tokens(logits, self.never_predicted).argmax(-1)
            return (states, predicted.astype(targets.dtype)), token

        xs = (targets, forced.at[:1].set(True), embedding_mask, noise and noise.steps)
        return jax.lax.scan(step, (states, jnp.zeros_like(targets[0])), xs)[1]

    def step(
        self, states: tuple[State, ...], tokens: Int[Array, "batch"], memory: Memory
    ) -> tuple[tuple[State, ...], tuple[Float[Array, "batch vocabulary"], Array | None]]:
        """Reads one token of each sequence; returns new states, then logits and attention weights `[batch, source]`."""
        if platform_in_use() == "cpu":
            embedded: Array | Lookup = self.embedding(tokens)[None]
        else:  # as a lookup it is not a product of each step, but of the loop around it
            embedded = embed(self.embedding, tokens[None], None)
        return self._step(tokens, embedded, states, memory, None)

    def _step(self, tokens: Array, embedded: Array | Lookup, states: tuple, memory: Memory, noise: Noise | None):
        states, (read, weights) = self._advance(states, embedded, memory, noise)
        return states, (self.logits(read)[0], None if weights is None else weights[0])

    def _draw(self, rngs: nnx.Rngs | None, targets: Array) -> tuple[Array | None, Noise | None]:
        """Draws the mask of the embeddings, and the noise of a step: that of the stack, and the mask of its output."""
        shape, how = targets.shape, {"variational": self.variational}
        embedding_mask = draw_mask(rngs, self.dropout, (*shape, self.embedding.features), **how)
        stack = self.stack.draw(rngs, *shape)
        if stack is None:
            return embedding_mask, None
        output_mask = draw_mask(rngs, self.output_dropout, (*shape, self.stack.out_features), **how)
        return embedding_mask, Noise((stack.steps, output_mask), stack.all)

    def _advance(self, states: tuple[State, ...], embedded: Array | Lookup, memory: Memory, noise: Noise | None):
        """Runs the stack over `embedded` `[time, batch, embedding]`; time is 1 where `one_by_one`.

        Returns the states, the inputs of the output layer and the attention weights.
        """
        extra, weights = [], None
        if self.attends_before:
            found, weights = self.attention(states[-1][0][None], memory.keys, memory.outputs, memory.valid)
            extra.append(found)
        if self.every_step:
            extra.append(jnp.broadcast_to(memory.context, (embedded.shape[0], *memory.context.shape)))
        fed: list[Array] = []
        if self.input_feeding:
            states, (last,) = states[:-1], states[-1]
            fed = [last[None]]
        inputs = jnp.concatenate([rows(embedded), *extra, *fed], axis=-1) if extra or fed else embedded
        hidden, states, output_mask = self._run(inputs, states, noise)
        if self.attends_after:
            found, weights = self.attention(hidden, memory.keys, memory.outputs, memory.valid)
            hidden = jnp.tanh(self.mix(jnp.concatenate([found, hidden], axis=-1)))
        hidden = apply_mask(hidden, output_mask)
        states = (*states, (hidden[0].astype(last.dtype),)) if self.input_feeding else states
        read = jnp.concatenate([hidden, *extra, rows(embedded)], axis=-1) if extra else hidden
        return states, (read, weights)

    def _run(self, inputs: Array | Lookup, states: tuple[State, ...], noise: Noise | None):
        """Runs the stack; returns its outputs, its states, and the mask for the inputs of the output layer."""
        steps, output_mask = (None, None) if noise is None else noise.steps
        own = None if noise is None else Noise(steps, noise.all)
        return *self.stack(inputs, states, noise=own), output_mask

    def logits(self, read: Float[Array, "... read"]) -> Float[Array, "... vocabulary"]:
        """Applies the output layer to its input at each step (`read_features` numbers)."""
        if not self.tied_embeddings:
            return self.output(read)
        return self.embedding.attend(read if self.narrow is None else self.narrow(read)) + self.output_bias[...]
