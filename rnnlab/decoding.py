"""Outputs of a model, one token at a time over its step function: greedy and beam search, and drawing at random.

A row's result depends on its own source alone: not on its neighbours, nor on how long they take.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rnnlab.models.decoder import Memory, without_tokens
from rnnlab.models.ensemble import Ensemble
from rnnlab.models.seq2seq import Seq2Seq

# (carry, tokens [batch]) -> carry, (logits [batch, vocabulary], attention weights [batch, source] or None)
Step = Callable[[Any, Array], tuple[Any, tuple[Array, Array | None]]]


class Hypotheses(NamedTuple):
    """The best outputs of each row, best first.

    `tokens` `[batch, n, time]` up to and with the end sign, then padding; `scores` `[batch, n]` as the search ranks
    them: log-probability in nats over the length penalty, less the coverage penalty, -inf where there are fewer than n;
    `log_p` `[batch, n, time]`, the log-probability of each token, 0 in the padding.
    """

    tokens: Int[Array, "batch n time"]
    scores: Float[Array, "batch n"]
    log_p: Float[Array, "batch n time"]


class Signs(NamedTuple):
    """Ids of the special tokens BOS (`start`), EOS (`end`) and PAD (`padding`)."""

    start: int
    end: int
    padding: int

    @property
    def never_predicted(self) -> tuple[int, int]:
        """Those that no output holds: BOS and PAD."""
        return self.start, self.padding


def length_penalty(length: Array, alpha: float) -> Array:
    """((5 + length) / 6)^alpha (Wu et al. 2016, arXiv 1609.08144, equation 14), the end sign counted in."""
    return ((5.0 + length) / 6.0) ** alpha


def coverage_penalty(coverage: Float[Array, "... source"], valid: Array, beta: float) -> Array:
    """-beta * sum over a source of log(min(coverage, 1)), 0 or above (Wu et al. 2016, equation 14).

    Args:
      coverage: the attention that each source step got, summed over the output.
      valid: which steps are no padding, `[..., source]`.
    """
    least = jnp.finfo(coverage.dtype).tiny
    return -beta * jnp.where(valid, jnp.log(jnp.clip(coverage, least, 1)), 0).sum(-1)


def _log_probabilities(logits: Array, signs: Signs) -> Array:
    return jax.nn.log_softmax(without_tokens(logits, signs.never_predicted), axis=-1)


def greedy(step: Step, carry: Any, limits: Int[Array, "batch"], *, signs: Signs, max_length: int) -> Hypotheses:
    """Takes the likeliest token of every step.

    Args:
      step: `(carry, tokens [batch]) -> carry, (logits [batch, vocabulary], attention weights or None)`.
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
        time, carry, last, tokens, said, alive = loop
        carry, (logits, _) = step(carry, last)
        log_p = _log_probabilities(logits, signs)
        token = choose(log_p, time).astype(jnp.int32)
        its = jnp.where(alive, jnp.take_along_axis(log_p, token[:, None], axis=1)[:, 0], 0)
        token = jnp.where(alive, token, signs.padding)
        alive &= (token != signs.end) & (time + 1 < limits)
        return time + 1, carry, token, tokens.at[:, time].set(token), said.at[:, time].set(its), alive

    last = jnp.full(batch, signs.start, jnp.int32)
    tokens = jnp.full((batch, max_length), signs.padding, jnp.int32)
    loop = (jnp.zeros((), jnp.int32), carry, last, tokens, jnp.zeros((batch, max_length)), limits > 0)
    _, _, _, tokens, said, _ = jax.lax.while_loop(unfinished, body, loop)
    return Hypotheses(tokens[:, None], said.sum(1)[:, None], said[:, None])


class _Beam(NamedTuple):
    time: Array
    carry: Any  # leaves [batch * n, ...]
    alive: Hypotheses  # their scores are log-probabilities
    coverage: Array  # [batch, n, source]
    finished: Hypotheses


class Penalties(NamedTuple):
    """What a beam ranks finished hypotheses by, besides their log-probability: that over the length penalty of `alpha`,
    less, where `beta` is above 0, the coverage penalty over the source's steps that are `valid` `[batch, source]`."""

    alpha: float = 0.0
    beta: float = 0.0
    valid: Any = None

    def rank(self, log_p: Float[Array, "batch n"], length: Array, coverage: Float[Array, "batch n source"]) -> Array:
        """The scores of hypotheses, `[batch, n]`."""
        scores = log_p / length_penalty(length, self.alpha)
        return scores - coverage_penalty(coverage, self.valid[:, None], self.beta) if self.beta else scores


_NO_PENALTIES = Penalties()


def beam_search(
    step: Step,
    carry: Any,
    limits: Int[Array, "batch"],
    *,
    signs: Signs,
    max_length: int,
    beam_size: int,
    penalties: Penalties = _NO_PENALTIES,
) -> Hypotheses:
    """Keeps the `beam_size` likeliest unfinished and the `beam_size` best finished hypotheses of each row.

    A row ends when none of its unfinished hypotheses can still overtake a finished one, so the search is exact
    whenever the beam holds every hypothesis.

    Args:
      step, carry, limits, signs, max_length: as in `greedy`, with leaves of `carry` `[batch * beam_size, ...]`.
      beam_size: n.
      penalties: of length and coverage; none ranks by log-probability. Coverage needs a step with attention weights.
    """
    batch = limits.shape[0]
    shape = (batch, beam_size, max_length)
    scores = jnp.full((batch, beam_size), -jnp.inf)
    none = Hypotheses(jnp.full(shape, signs.padding, jnp.int32), scores, jnp.zeros(shape))
    first = jnp.where((jnp.arange(beam_size) == 0) & (limits[:, None] > 0), 0.0, -jnp.inf)
    coverage = jnp.zeros((batch, beam_size, penalties.valid.shape[1] if penalties.beta else 1))
    beam = _Beam(jnp.zeros((), jnp.int32), carry, none._replace(scores=first), coverage, none)

    def unfinished(beam: _Beam):
        reachable = beam.alive.scores.max(1) / length_penalty(limits, penalties.alpha)  # if all comes to be covered
        return jnp.any(reachable > beam.finished.scores.min(1))

    def body(beam: _Beam):
        return _extend(step, beam, limits, signs, penalties)

    return jax.lax.while_loop(unfinished, body, beam).finished


def _extend(step: Step, beam: _Beam, limits: Array, signs: Signs, penalties: Penalties) -> _Beam:
    time, before = beam.time, beam.alive
    batch, n = before.scores.shape
    last = jnp.where(time > 0, before.tokens[:, :, time - 1], signs.start)
    carry, (logits, weights) = step(beam.carry, last.reshape(-1))
    log_p = _log_probabilities(logits, signs).reshape(batch, n, -1)
    total = before.scores[..., None] + log_p
    if penalties.beta and weights is None:
        raise ValueError("beta: a coverage penalty needs a step with attention weights")
    coverage = beam.coverage + (weights.reshape(batch, n, -1) if penalties.beta and weights is not None else 0)

    ended = Hypotheses(
        before.tokens.at[:, :, time].set(signs.end),
        penalties.rank(total[..., signs.end], time + 1.0, coverage),
        before.log_p.at[:, :, time].set(log_p[..., signs.end]),
    )
    finished = _best(beam.finished, ended)

    vocabulary = log_p.shape[-1]
    scores, index = jax.lax.top_k(total.at[..., signs.end].set(-jnp.inf).reshape(batch, -1), n)
    parent, token = index // vocabulary, (index % vocabulary).astype(jnp.int32)
    said = jnp.take_along_axis(log_p.reshape(batch, -1), index, axis=1)
    tokens, known, coverage = _take((before.tokens, before.log_p, coverage), parent)
    alive = Hypotheses(tokens.at[:, :, time].set(token), scores, known.at[:, :, time].set(said))
    rows = (jnp.arange(batch)[:, None] * n + parent).reshape(-1)
    carry = jax.tree.map(lambda leaf: leaf[rows], carry)

    at_limit = (time + 1 >= limits)[:, None]
    cut = jnp.where(at_limit, penalties.rank(scores, time + 1.0, coverage), -jnp.inf)
    finished = _best(finished, alive._replace(scores=cut))
    alive = alive._replace(scores=jnp.where(at_limit, -jnp.inf, scores))
    return _Beam(time + 1, carry, alive, coverage, finished)


def _best(one: Hypotheses, other: Hypotheses) -> Hypotheses:
    """The n best of two times n hypotheses of each row."""
    both = Hypotheses(*(jnp.concatenate(pair, axis=1) for pair in zip(one, other, strict=True)))
    return _ranked(both, one.scores.shape[1])


def _ranked(hypotheses: Hypotheses, number: int) -> Hypotheses:
    """The `number` best of each row, best first."""
    return _take(hypotheses, jax.lax.top_k(hypotheses.scores, number)[1])


def _take(tree: Any, index: Int[Array, "batch n"]) -> Any:
    """Of leaves `[batch, n, ...]` the entries at `index` of each row."""
    return jax.tree.map(
        lambda v: jnp.take_along_axis(v, index.reshape(*index.shape, *[1] * (v.ndim - 2)), axis=1), tree
    )


def free_running(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    targets: Int[Array, "target batch"],
    *,
    signs: Signs,
) -> Float[Array, "target batch vocabulary"]:
    """Computes logits of as many steps as `targets` has: the first reads `targets[0]`, each other one the token that
    greedy search takes after the step before it."""
    memory: Any
    states, memory = model.encode(source, seq_lengths)

    def step(carry, _):
        states, tokens = carry
        states, (logits, _) = model.step(states, tokens, memory)
        predicted = without_tokens(logits, signs.never_predicted).argmax(-1)
        return (states, predicted.astype(targets.dtype)), logits

    _, logits = jax.lax.scan(step, (states, targets[0]), None, length=targets.shape[0])
    return logits


def attention(
    model: Seq2Seq | Ensemble,
    source: Int[Array, "source batch"],
    seq_lengths: Int[Array, "batch"],
    targets: Int[Array, "target batch"],
) -> Float[Array, "target batch source"] | None:
    """Where a model looks at the step after each of `targets` is read; None for one that never looks."""
    memory: Any
    states, memory = model.encode(source, seq_lengths)

    def step(states, tokens):
        states, (_, weights) = model.step(states, tokens, memory)
        return states, weights

    return jax.lax.scan(step, states, targets)[1]


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
    limits: Int[Array, "batch"],
    *,
    signs: Signs,
    max_length: int,
    beam_size: int = 1,
    alpha: float = 0.0,
    beta: float = 0.0,
    sampling: Sampling | None = None,
) -> Hypotheses:
    """Searches the best outputs of a model for `source` `[source, batch]`; a row of length 0 gets none.

    `limits` and `max_length` are as in `greedy`. `beam_size` 1 is greedy search; with `sampling` it is the number of
    outputs that are drawn, most likely first. `alpha` and `beta` are those of `Penalties`, for a beam.
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
        drawn = sample(step, states, rows, signs=signs, max_length=max_length, **sampling._replace(keys=keys)._asdict())
        return _ranked(jax.tree.map(lambda v: v.reshape(-1, beam_size, *v.shape[2:]), drawn), beam_size)
    if beam_size == 1:
        return greedy(step, states, limits, signs=signs, max_length=max_length)
    penalties = Penalties(alpha, beta, jnp.arange(source.shape[0]) < seq_lengths[:, None])
    return beam_search(
        step, states, limits, signs=signs, max_length=max_length, beam_size=beam_size, penalties=penalties
    )


def _repeat(memory: Memory, times: int) -> Memory:
    outputs, keys, valid = (jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=1), part) for part in memory[:3])
    return Memory(outputs, keys, valid, jnp.repeat(memory.context, times, axis=0))
