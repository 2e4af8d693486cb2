"""Searches with one output per row: greedy, and sampling.

A row's result depends only on its own source, not on its neighbours or their lengths.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rnnlab.search.base import Hypotheses, SpecialTokens, Step, log_probabilities, resolve_block, write


def greedy(
    step: Step,
    carry: Any,
    limits: Int[Array, "batch"],
    *,
    special: SpecialTokens,
    max_length: int,
    block: int | None = None,
) -> Hypotheses:
    """Takes the most likely token at every step.

    Args:
      step: `(carry, tokens [batch]) -> carry, (logits [batch, vocabulary], attention weights or None)`.
      carry: the state before the first step.
      limits: the maximum number of tokens of each row, including EOS; a row that reaches it ends there without EOS.
      special: the ids of BOS, EOS and PAD.
      max_length: time of the result, at least the largest limit.
      block: the number of tokens between two tests whether all rows have ended. It changes the cost, not the result.
        None: 1 on a CPU, 8 on an accelerator, where a test costs kernels. A row that has ended runs on meanwhile.

    Raises:
      ValueError: a block below 1.
    """

    def choose(log_p: Array, _: Array) -> tuple[Array, Array]:
        return log_p.argmax(-1), log_p.max(-1)

    return _one_by_one(step, carry, limits, choose, special=special, max_length=max_length, block=block)


def sample(
    step: Step,
    carry: Any,
    limits: Int[Array, "batch"],
    *,
    keys: Key[Array, "batch"],
    special: SpecialTokens,
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    block: int | None = None,
) -> Hypotheses:
    """Samples each token from the model's distribution; scores are log-probabilities under the unmodified model.

    Args:
      step, carry, limits, special, max_length, block: as in `greedy`.
      keys: a random key for each row, `[batch]`.
      temperature: above 0; logits are divided by it, so below 1 likely tokens become more likely.
      top_k: samples only from the k most likely tokens (Fan et al. 2018, arXiv 1805.04833); 0 disables it.
      top_p: then from the smallest set of most likely tokens with this share of the probability (Holtzman et al. 2020,
        arXiv 1904.09751). Both also keep tokens that are as likely as the last one kept.
    """

    def choose(log_p: Array, time: Array) -> tuple[Array, Array]:
        now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, time)
        token = jax.vmap(jax.random.categorical)(now, _most_likely(log_p / temperature, top_k, top_p))
        return token, jnp.take_along_axis(log_p, token[:, None], axis=1)[:, 0]

    return _one_by_one(step, carry, limits, choose, special=special, max_length=max_length, block=block)


def _most_likely(logits: Float[Array, "batch vocabulary"], top_k: int, top_p: float) -> Array:
    """Returns the logits, -inf for the tokens that `sample` excludes."""
    falling = -jnp.sort(-logits, axis=-1)
    if top_k:
        falling = jnp.where(jnp.arange(falling.shape[-1]) < top_k, falling, -jnp.inf)
    p = jax.nn.softmax(falling, axis=-1)
    before = jnp.cumsum(p, axis=-1) - p
    least = jnp.where((before < top_p) & (p > 0), falling, jnp.inf).min(-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


def _one_by_one(
    step: Step,
    carry: Any,
    limits: Array,
    choose: Callable[[Array, Array], tuple[Array, Array]],
    *,
    special: SpecialTokens,
    max_length: int,
    block: int | None,
) -> Hypotheses:
    """Searches one output per row; `choose` picks each token, and its log-probability, from all of them and time."""
    batch = limits.shape[0]
    block, time = resolve_block(block, max_length)

    def unfinished(loop):
        return jnp.any(loop[-1])

    def body(loop):
        time, carry, last, tokens, said, alive = loop
        found = []
        for at in range(block):
            carry, (logits, _) = step(carry, last)
            last, its = choose(log_probabilities(logits, special), time + at)
            last = last.astype(jnp.int32)  # also of rows that have ended, of which nothing is stored
            found.append((jnp.where(alive, last, special.pad), jnp.where(alive, its, 0)))
            alive &= (last != special.eos) & (time + at + 1 < limits)
        tokens, said = jax.tree.map(lambda values, *new: write(values, new, time), (tokens, said), *found)
        return time + block, carry, last, tokens, said, alive

    shape = time, batch
    last = jnp.full(batch, special.bos, jnp.int32)
    tokens = jnp.full(shape, special.pad, jnp.int32)
    loop = (jnp.zeros((), jnp.int32), carry, last, tokens, jnp.zeros(shape), limits > 0)
    _, _, _, tokens, said, _ = jax.lax.while_loop(unfinished, body, loop)
    tokens, said = tokens[:max_length].T, said[:max_length].T
    return Hypotheses(tokens[:, None], said.sum(1)[:, None], said[:, None])
