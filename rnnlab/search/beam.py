"""Beam search."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.search.base import Hypotheses, SpecialTokens, Step, log_probabilities, ranked, resolve_block, take, write


def length_penalty(length: Array, alpha: float) -> Array:
    """Returns ((5 + length) / 6)^alpha (Wu et al. 2016, arXiv 1609.08144, equation 14), counting EOS."""
    return ((5.0 + length) / 6.0) ** alpha


def coverage_penalty(coverage: Float[Array, "... source"], valid: Array, beta: float) -> Array:
    """Returns -beta * sum over a source of log(min(coverage, 1)), 0 or above (Wu et al. 2016, equation 14).

    Args:
      coverage: the attention on each source step, summed over the output.
      valid: True outside the padding, `[..., source]`.
    """
    least = jnp.finfo(coverage.dtype).tiny
    return -beta * jnp.where(valid, jnp.log(jnp.clip(coverage, least, 1)), 0).sum(-1)


class _Steps(NamedTuple):
    """What a beam did at each step, `[time, batch, n]`: the slot that each unfinished hypothesis continued, its new
    token, and the log-probability of that token."""

    parent: Array
    token: Array
    log_p: Array


class _Finished(NamedTuple):
    """The best finished hypotheses, `[batch, n]`: their scores; the step and the slot of their last token before EOS
    (step -1: none yet); and the log-probability of EOS, infinite for one that was cut at its limit."""

    scores: Array
    step: Array
    slot: Array
    log_p: Array


class _Beam(NamedTuple):
    time: Array
    carry: Any  # leaves [batch * n, ...]
    tokens: Array  # the last token of each unfinished hypothesis, [batch, n]
    scores: Array  # their log-probabilities, [batch, n]
    coverage: Array  # [batch, n, source]
    steps: _Steps
    finished: _Finished


class Penalties(NamedTuple):
    """The penalties by which a beam ranks finished hypotheses: log-probability over the length penalty of `alpha`,
    minus (for `beta` above 0) the coverage penalty over the `valid` source steps `[batch, source]`."""

    alpha: float = 0.0
    beta: float = 0.0
    valid: Any = None

    def rank(self, log_p: Float[Array, "batch n"], length: Array, coverage: Float[Array, "batch n source"]) -> Array:
        """Returns the scores of hypotheses, `[batch, n]`."""
        scores = log_p / length_penalty(length, self.alpha)
        return scores - coverage_penalty(coverage, self.valid[:, None], self.beta) if self.beta else scores


_NO_PENALTIES = Penalties()


def beam_search(
    step: Step,
    carry: Any,
    limits: Int[Array, "batch"],
    *,
    special: SpecialTokens,
    max_length: int,
    beam_size: int,
    penalties: Penalties = _NO_PENALTIES,
    block: int | None = None,
) -> Hypotheses:
    """Keeps the `beam_size` most likely unfinished and the `beam_size` best finished hypotheses of each row.

    A row ends when none of its unfinished hypotheses can still overtake a finished one, so the search is exact if the
    beam holds every hypothesis.

    Args:
      step, carry, limits, special, max_length, block: as in `greedy`; leaves of `carry` are `[batch * beam_size, ...]`.
      beam_size: n.
      penalties: of length and coverage; None ranks by log-probability. Coverage needs a step with attention weights.

    Raises:
      ValueError: a block below 1, or a coverage penalty for a step without attention weights.
    """
    batch = limits.shape[0]
    block, time = resolve_block(block, max_length)
    shape = (batch, beam_size)
    times = (time, *shape)
    nothing = jnp.full(shape, -jnp.inf)
    first = jnp.where((jnp.arange(beam_size) == 0) & (limits[:, None] > 0), 0.0, nothing)
    coverage = jnp.zeros((*shape, penalties.valid.shape[1] if penalties.beta else 1))
    steps = _Steps(jnp.zeros(times, jnp.int32), jnp.zeros(times, jnp.int32), jnp.zeros(times))
    finished = _Finished(nothing, jnp.full(shape, -1, jnp.int32), jnp.zeros(shape, jnp.int32), jnp.full(shape, jnp.inf))
    begin = jnp.full(shape, special.bos, jnp.int32)
    beam = _Beam(jnp.zeros((), jnp.int32), carry, begin, first, coverage, steps, finished)

    def unfinished(beam: _Beam):
        reachable = beam.scores.max(1) / length_penalty(limits, penalties.alpha)  # if everything becomes covered
        return jnp.any(reachable > beam.finished.scores.min(1))

    def body(beam: _Beam):
        time, done, found = beam.time, [], []
        for at in range(block):
            beam, taken, ended = _extend(step, beam._replace(time=time + at), limits, special, penalties)
            done.append(taken)
            found += ended
        steps = jax.tree.map(lambda values, *new: write(values, new, time), beam.steps, *done)
        return beam._replace(time=time + block, steps=steps, finished=_best([beam.finished, *found]))

    beam = jax.lax.while_loop(unfinished, body, beam)
    return _trace(beam, special, max_length, unroll=block)


def _extend(
    step: Step, beam: _Beam, limits: Array, special: SpecialTokens, penalties: Penalties
) -> tuple[_Beam, _Steps, list[_Finished]]:
    """Reads a token of each hypothesis; returns the beam after it, what it did, and the hypotheses that ended here."""
    time, (batch, n) = beam.time, beam.scores.shape
    carry, (logits, weights) = step(beam.carry, beam.tokens.reshape(-1))
    log_p = log_probabilities(logits, special).reshape(batch, n, -1)
    total = beam.scores[..., None] + log_p
    if penalties.beta and weights is None:
        raise ValueError("beta: a coverage penalty needs a step with attention weights")
    coverage = beam.coverage + (weights.reshape(batch, n, -1) if penalties.beta and weights is not None else 0)
    slots = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (batch, n))
    rank = penalties.rank(total[..., special.eos], time + 1.0, coverage)
    ended = _Finished(rank, jnp.full((batch, n), time - 1), slots, log_p[..., special.eos])

    vocabulary = log_p.shape[-1]
    others = jnp.where(jnp.arange(vocabulary) == special.eos, -jnp.inf, total)
    scores, index = jax.lax.top_k(others.reshape(batch, -1), n)
    parent, token = index // vocabulary, (index % vocabulary).astype(jnp.int32)
    taken = _Steps(parent, token, jnp.take_along_axis(log_p.reshape(batch, -1), index, axis=1))
    coverage = take(coverage, parent) if penalties.beta else coverage
    rows = (jnp.arange(batch)[:, None] * n + parent).reshape(-1)
    carry = jax.tree.map(lambda leaf: leaf[rows], carry)

    at_limit = (time + 1 >= limits)[:, None]
    rank = jnp.where(at_limit, penalties.rank(scores, time + 1.0, coverage), -jnp.inf)
    cut = _Finished(rank, jnp.full((batch, n), time), slots, jnp.full((batch, n), jnp.inf))
    scores = jnp.where(at_limit, -jnp.inf, scores)
    return beam._replace(carry=carry, tokens=token, scores=scores, coverage=coverage), taken, [ended, cut]


def _best(found: list[_Finished]) -> _Finished:
    """Returns the n best of several times n hypotheses of each row; of equal ones the earlier."""
    together = _Finished(*(jnp.concatenate(values, axis=1) for values in zip(*found, strict=True)))
    return ranked(together, found[0].scores.shape[1])


def _trace(beam: _Beam, special: SpecialTokens, max_length: int, unroll: int) -> Hypotheses:
    """Follows the finished hypotheses from their last tokens back to the first ones."""
    finished = beam.finished

    def back(slot: Array, at_step):
        time, taken = at_step
        within, ends = time <= finished.step, (time == finished.step + 1) & (finished.log_p != jnp.inf)
        its = jax.tree.map(lambda values: jnp.take_along_axis(values, slot, axis=1), taken)
        token = jnp.where(within, its.token, jnp.where(ends, special.eos, special.pad))
        log_p = jnp.where(within, its.log_p, jnp.where(ends, finished.log_p, 0))
        return jnp.where(within, its.parent, slot), (token, log_p)

    times = jnp.arange(beam.steps.token.shape[0])
    _, found = jax.lax.scan(back, finished.slot, (times, beam.steps), reverse=True, unroll=unroll)
    tokens, log_p = (jnp.moveaxis(values[:max_length], 0, -1) for values in found)
    return Hypotheses(tokens, finished.scores, log_p)
