"""Outputs of a seq2seq model: the searches of `rnnlab.search` over its decoder."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rnnlab.logits import without_tokens
from rnnlab.models import Ensemble, Seq2Seq
from rnnlab.models.decoder import Memory
from rnnlab.search import Hypotheses, Penalties, SpecialTokens, beam_search, greedy, sample
from rnnlab.search.base import ranked


def free_running(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    targets: Int[Array, "target batch"],
    *,
    special: SpecialTokens,
) -> Float[Array, "target batch vocabulary"]:
    """Computes free-running logits for the number of steps of `targets`: the first step reads `targets[0]`, each other
    one the most likely token of the step before."""
    memory: Any
    states, memory = model.encode(source, seq_lengths)

    def step(carry, _):
        states, tokens = carry
        states, (logits, _) = model.step(states, tokens, memory)
        predicted = without_tokens(logits, special.never_predicted).argmax(-1)
        return (states, predicted.astype(targets.dtype)), logits

    _, logits = jax.lax.scan(step, (states, targets[0]), None, length=targets.shape[0])
    return logits


def attention(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    targets: Int[Array, "target batch"],
) -> Float[Array, "target batch source"] | None:
    """Computes the attention weights after reading each of `targets`; None for a model without attention."""
    memory: Any
    states, memory = model.encode(source, seq_lengths)

    def step(states, tokens):
        states, (_, weights) = model.step(states, tokens, memory)
        return states, weights

    return jax.lax.scan(step, states, targets)[1]


class Sampling(NamedTuple):
    """The options of `sample` for `decode`, with a key for each source, `[batch]`."""

    keys: Key[Array, "batch"]
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def decode(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    limits: Int[Array, "batch"],
    *,
    special: SpecialTokens,
    max_length: int,
    beam_size: int = 1,
    alpha: float = 0.0,
    beta: float = 0.0,
    sampling: Sampling | None = None,
) -> Hypotheses:
    """Searches the best outputs of a model for `source` `[source, batch]`; a row of length 0 gets no output.

    `limits` and `max_length` are as in `greedy`. `beam_size` 1 is greedy search; with `sampling` it is the number of
    sampled outputs, most likely first. `alpha` and `beta` are those of `Penalties`, for a beam.
    """
    limits = jnp.where(seq_lengths > 0, limits, 0)
    states: Any
    memory: Any
    states, memory = model.encode(source, seq_lengths)
    if beam_size > 1:
        states = jax.tree.map(lambda leaf: jnp.repeat(leaf, beam_size, axis=0), states)
        memory = jax.tree.map(lambda m: _repeat(m, beam_size), memory, is_leaf=lambda m: isinstance(m, Memory))

    def step(states, tokens: Array):
        return model.step(states, tokens, memory)

    if sampling is not None:
        keys = jax.vmap(lambda key: jax.random.split(key, beam_size))(sampling.keys).reshape(-1)
        rows = jnp.repeat(limits, beam_size)
        drawn = sample(
            step, states, rows, special=special, max_length=max_length, **sampling._replace(keys=keys)._asdict()
        )
        return ranked(jax.tree.map(lambda v: v.reshape(-1, beam_size, *v.shape[2:]), drawn), beam_size)
    if beam_size == 1:
        return greedy(step, states, limits, special=special, max_length=max_length)
    penalties = Penalties(alpha, beta, jnp.arange(source.shape[0]) < seq_lengths[:, None])
    return beam_search(
        step, states, limits, special=special, max_length=max_length, beam_size=beam_size, penalties=penalties
    )


def _repeat(memory: Memory, times: int) -> Memory:
    outputs, keys, valid = (jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=1), part) for part in memory[:3])
    return Memory(outputs, keys, valid, jnp.repeat(memory.context, times, axis=0))
