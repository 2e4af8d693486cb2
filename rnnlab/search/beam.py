"""Beam search."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.search.base import Hypotheses, SpecialTokens, Step, log_probabilities, ranked, take


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


class _Beam(NamedTuple):
    time: Array
    carry: Any  # leaves [batch * n, ...]
    alive: Hypotheses  # their scores are log-probabilities
    coverage: Array  # [batch, n, source]
    finished: Hypotheses


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
) -> Hypotheses:
    """Keeps the `beam_size` most likely unfinished and the `beam_size` best finished hypotheses of each row.

    A row ends when none of its unfinished hypotheses can still overtake a finished one, so the search is exact if the
    beam holds every hypothesis.

    Args:
      step, carry, limits, special, max_length: as in `greedy`, with leaves of `carry` `[batch * beam_size, ...]`.
      beam_size: n.
      penalties: of length and coverage; None ranks by log-probability. Coverage needs a step with attention weights.
    """
    batch = limits.shape[0]
    shape = (batch, beam_size, max_length)
    scores = jnp.full((batch, beam_size), -jnp.inf)
    none = Hypotheses(jnp.full(shape, special.pad, jnp.int32), scores, jnp.zeros(shape))
    first = jnp.where((jnp.arange(beam_size) == 0) & (limits[:, None] > 0), 0.0, -jnp.inf)
    coverage = jnp.zeros((batch, beam_size, penalties.valid.shape[1] if penalties.beta else 1))
    beam = _Beam(jnp.zeros((), jnp.int32), carry, none._replace(scores=first), coverage, none)

    def unfinished(beam: _Beam):
        reachable = beam.alive.scores.max(1) / length_penalty(limits, penalties.alpha)  # if everything becomes covered
        return jnp.any(reachable > beam.finished.scores.min(1))

    def body(beam: _Beam):
        return _extend(step, beam, limits, special, penalties)

    return jax.lax.while_loop(unfinished, body, beam).finished


def _extend(step: Step, beam: _Beam, limits: Array, special: SpecialTokens, penalties: Penalties) -> _Beam:
    time, before = beam.time, beam.alive
    batch, n = before.scores.shape
    last = jnp.where(time > 0, before.tokens[:, :, time - 1], special.bos)
    carry, (logits, weights) = step(beam.carry, last.reshape(-1))
    log_p = log_probabilities(logits, special).reshape(batch, n, -1)
    total = before.scores[..., None] + log_p
    if penalties.beta and weights is None:
        raise ValueError("beta: a coverage penalty needs a step with attention weights")
    coverage = beam.coverage + (weights.reshape(batch, n, -1) if penalties.beta and weights is not None else 0)

    ended = Hypotheses(
        before.tokens.at[:, :, time].set(special.eos),
        penalties.rank(total[..., special.eos], time + 1.0, coverage),
        before.log_p.at[:, :, time].set(log_p[..., special.eos]),
    )
    finished = _best(beam.finished, ended)

    vocabulary = log_p.shape[-1]
    scores, index = jax.lax.top_k(total.at[..., special.eos].set(-jnp.inf).reshape(batch, -1), n)
    parent, token = index // vocabulary, (index % vocabulary).astype(jnp.int32)
    said = jnp.take_along_axis(log_p.reshape(batch, -1), index, axis=1)
    tokens, known, coverage = take((before.tokens, before.log_p, coverage), parent)
    alive = Hypotheses(tokens.at[:, :, time].set(token), scores, known.at[:, :, time].set(said))
    rows = (jnp.arange(batch)[:, None] * n + parent).reshape(-1)
    carry = jax.tree.map(lambda leaf: leaf[rows], carry)

    at_limit = (time + 1 >= limits)[:, None]
    cut = jnp.where(at_limit, penalties.rank(scores, time + 1.0, coverage), -jnp.inf)
    finished = _best(finished, alive._replace(scores=cut))
    alive = alive._replace(scores=jnp.where(at_limit, -jnp.inf, scores))
    return _Beam(time + 1, carry, alive, coverage, finished)


def _best(one: Hypotheses, other: Hypotheses) -> Hypotheses:
    """Returns the n best of two times n hypotheses of each row."""
    both = Hypotheses(*(jnp.concatenate(pair, axis=1) for pair in zip(one, other, strict=True)))
    return ranked(both, one.scores.shape[1])
