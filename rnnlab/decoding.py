"""Outputs of a model, one token at a time over its step function: greedy and beam search, and drawing at random.

A row's result depends on its own source alone: not on its neighbours, nor on how long they take.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rnnlab.models.decoder import Memory
from rnnlab.models.ensemble import Ensemble
from rnnlab.models.seq2seq import Seq2Seq

Step = Callable[[Any, Array], tuple[Any, Array]]


class Hypotheses(NamedTuple):
    """The best outputs of each row, best first.

    `tokens` `[batch, n, time]` up to and with the end sign, then padding; `scores` `[batch, n]` as the search ranks
    them: log-probability in nats over the length penalty, -inf where there are fewer than n.
    """

    tokens: Int[Array, "batch n time"]
    scores: Float[Array, "batch n"]


class Signs(NamedTuple):
    """Ids with a meaning of their own: `start`, `end`, `padding`. A search emits neither start nor padding."""

    start: int
    end: int
    padding: int


def length_penalty(length: Array, alpha: float) -> Array:
    """((5 + length) / 6)^alpha (Wu et al. 2016, arXiv 1609.08144, equation 14), the end sign counted in."""
    return ((5.0 + length) / 6.0) ** alpha


def _log_probabilities(logits: Array, signs: Signs) -> Array:
    logits = logits.at[..., jnp.array([signs.start, signs.padding])].set(-jnp.inf)
    return jax.nn.log_softmax(logits, axis=-1)


def greedy(step: Step, carry: Any, limits: Int[Array, "batch"], *, signs: Signs, max_length: int) -> Hypotheses:
    """Takes the likeliest token of every step.

    Args:
      step: `(carry, tokens [batch]) -> (carry, logits [batch, vocabulary])`.
      carry: what the first step starts from.
      limits: most tokens of each row, the end sign counted in; a row that reaches it ends there without one.
      signs: the ids of start, end and padding.
      max_length: time of the result, at least the largest limit.
    """
    return _one_by_one(step, carry, limits, lambda log_p, _: log_p.argmax(-1), signs, max_length)


def sample(
    step: Step,
    carry: Any,
    limits: Int[Array, "batch"],
    *,
    keys: Key[Array, "batch"],
    signs: Signs,
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Hypotheses:
    """Draws each token from the model's distribution; scores are log-probabilities under the model as it is.

    Args:
      step, carry, limits, signs, max_length: as in `greedy`.
      keys: a random key for each row, `[batch]`.
      temperature: above 0; logits are divided by it, so that below 1 the likely become likelier.
      top_k: draws from the so many likeliest tokens only (Fan et al. 2018, arXiv 1805.04833); 0 is all.
      top_p: then from the fewest likeliest that hold this share of the probability (Holtzman et al. 2020,
        arXiv 1904.09751). Tokens as likely as the last one kept are kept, too.
    """

    def choose(log_p: Array, time: Array) -> Array:
        now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, time)
        return jax.vmap(jax.random.categorical)(now, _likeliest(log_p / temperature, top_k, top_p))

    return _one_by_one(step, carry, limits, choose, signs, max_length)


def _likeliest(logits: Float[Array, "batch vocabulary"], top_k: int, top_p: float) -> Array:
    """The logits, -inf for what `sample` leaves out."""
    falling = -jnp.sort(-logits, axis=-1)
    if top_k:
        falling = jnp.where(jnp.arange(falling.shape[-1]) < top_k, falling, -jnp.inf)
    p = jax.nn.softmax(falling, axis=-1)
    before = jnp.cumsum(p, axis=-1) - p
    least = jnp.where((before < top_p) & (p > 0), falling, jnp.inf).min(-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


def _one_by_one(
    step: Step, carry: Any, limits: Array, choose: Callable[[Array, Array], Array], signs: Signs, max_length: int
) -> Hypotheses:
    """The one output of each row whose tokens are what `choose` makes of log-probabilities and time."""
    batch = limits.shape[0]

    def unfinished(loop):
        return jnp.any(loop[-1])

    def body(loop):
        time, carry, last, tokens, scores, alive = loop
        carry, logits = step(carry, last)
        log_p = _log_probabilities(logits, signs)
        token = choose(log_p, time).astype(jnp.int32)
        scores += jnp.where(alive, jnp.take_along_axis(log_p, token[:, None], axis=1)[:, 0], 0)
        token = jnp.where(alive, token, signs.padding)
        alive &= (token != signs.end) & (time + 1 < limits)
        return time + 1, carry, token, tokens.at[:, time].set(token), scores, alive

    last = jnp.full(batch, signs.start, jnp.int32)
    tokens = jnp.full((batch, max_length), signs.padding, jnp.int32)
    loop = (jnp.zeros((), jnp.int32), carry, last, tokens, jnp.zeros(batch), limits > 0)
    _, _, _, tokens, scores, _ = jax.lax.while_loop(unfinished, body, loop)
    return Hypotheses(tokens[:, None], scores[:, None])


class _Beam(NamedTuple):
    time: Array
    carry: Any  # leaves [batch * n, ...]
    tokens: Array  # [batch, n, time]
    log_p: Array  # [batch, n]
    finished: Hypotheses


def beam_search(
    step: Step,
    carry: Any,
    limits: Int[Array, "batch"],
    *,
    signs: Signs,
    max_length: int,
    beam_size: int,
    alpha: float = 0.0,
) -> Hypotheses:
    """Keeps the `beam_size` best unfinished and the `beam_size` best finished hypotheses of each row.

    A row ends when none of its unfinished hypotheses can still overtake a finished one, so the search is exact
    whenever the beam holds every hypothesis.

    Args:
      step, carry, limits, signs, max_length: as in `greedy`, with leaves of `carry` `[batch * beam_size, ...]`.
      beam_size: n.
      alpha: strength of the length penalty; 0 ranks by log-probability.
    """
    batch = limits.shape[0]
    empty = Hypotheses(
        jnp.full((batch, beam_size, max_length), signs.padding, jnp.int32), jnp.full((batch, beam_size), -jnp.inf)
    )
    first = jnp.where((jnp.arange(beam_size) == 0) & (limits[:, None] > 0), 0.0, -jnp.inf)
    beam = _Beam(jnp.zeros((), jnp.int32), carry, empty.tokens, first, empty)

    def unfinished(beam: _Beam):
        reachable = beam.log_p.max(1) / length_penalty(limits, alpha)
        return jnp.any(reachable > beam.finished.scores.min(1))

    def body(beam: _Beam):
        return _extend(step, beam, limits, signs, alpha)

    return jax.lax.while_loop(unfinished, body, beam).finished


def _extend(step: Step, beam: _Beam, limits: Array, signs: Signs, alpha: float) -> _Beam:
    batch, n = beam.log_p.shape
    last = jnp.where(beam.time > 0, beam.tokens[:, :, beam.time - 1], signs.start)
    carry, logits = step(beam.carry, last.reshape(-1))
    log_p = beam.log_p[..., None] + _log_probabilities(logits, signs).reshape(batch, n, -1)
    vocabulary = log_p.shape[-1]

    penalty = length_penalty(beam.time + 1.0, alpha)
    ended = Hypotheses(beam.tokens.at[:, :, beam.time].set(signs.end), log_p[..., signs.end] / penalty)
    finished = _best(beam.finished, ended)

    alive, index = jax.lax.top_k(log_p.at[..., signs.end].set(-jnp.inf).reshape(batch, -1), n)
    parent, token = index // vocabulary, (index % vocabulary).astype(jnp.int32)
    tokens = jnp.take_along_axis(beam.tokens, parent[..., None], axis=1).at[:, :, beam.time].set(token)
    rows = (jnp.arange(batch)[:, None] * n + parent).reshape(-1)
    carry = jax.tree.map(lambda leaf: leaf[rows], carry)

    at_limit = (beam.time + 1 >= limits)[:, None]
    finished = _best(finished, Hypotheses(tokens, jnp.where(at_limit, alive / penalty, -jnp.inf)))
    return _Beam(beam.time + 1, carry, tokens, jnp.where(at_limit, -jnp.inf, alive), finished)


def _best(one: Hypotheses, other: Hypotheses) -> Hypotheses:
    """The n best of two times n hypotheses of each row."""
    both = Hypotheses(*(jnp.concatenate(pair, axis=1) for pair in zip(one, other, strict=True)))
    return _ranked(both, one.scores.shape[1])


def _ranked(hypotheses: Hypotheses, number: int) -> Hypotheses:
    """The `number` best of each row, best first."""
    scores, index = jax.lax.top_k(hypotheses.scores, number)
    return Hypotheses(jnp.take_along_axis(hypotheses.tokens, index[..., None], axis=1), scores)


def free_running(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    targets: Int[Array, "target batch"],
) -> Float[Array, "target batch vocabulary"]:
    """Logits of as many steps as `targets` has: the first reads `targets[0]`, each other one the likeliest token of the
    step before it."""
    states: Any
    memory: Any
    states, memory = model.encode(source, seq_lengths)

    def step(carry, _):
        states, tokens = carry
        states, logits = model.step(states, tokens, memory)
        return (states, logits.argmax(-1).astype(targets.dtype)), logits

    _, logits = jax.lax.scan(step, (states, targets[0]), None, length=targets.shape[0])
    return logits


class Sampling(NamedTuple):
    """How `decode` draws its outputs: the options of `sample`, with a key for each source, `[batch]`."""

    keys: Key[Array, "batch"]
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def decode(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    *,
    signs: Signs,
    beam_size: int = 1,
    alpha: float = 0.0,
    sampling: Sampling | None = None,
) -> Hypotheses:
    """The best outputs of a model for `source` `[source, batch]`; a row of length 0 gets none.

    An output has at most 2 tokens for each of its source and 10 more. `beam_size` 1 is greedy search; with `sampling`
    it is the number of outputs that are drawn, likeliest first.
    """
    limits = jnp.where(seq_lengths > 0, 2 * seq_lengths + 10, 0)
    max_length = 2 * source.shape[0] + 10
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
        drawn = sample(step, states, rows, signs=signs, max_length=max_length, **sampling._replace(keys=keys)._asdict())
        each = Hypotheses(drawn.tokens.reshape(-1, beam_size, max_length), drawn.scores.reshape(-1, beam_size))
        return _ranked(each, beam_size)
    if beam_size == 1:
        return greedy(step, states, limits, signs=signs, max_length=max_length)
    return beam_search(step, states, limits, signs=signs, max_length=max_length, beam_size=beam_size, alpha=alpha)


def _repeat(memory: Memory, times: int) -> Memory:
    outputs, keys, valid = (jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=1), part) for part in memory[:3])
    return Memory(outputs, keys, valid, jnp.repeat(memory.context, times, axis=0))
