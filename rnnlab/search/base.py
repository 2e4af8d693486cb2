"""Shared by every search: the step function, hypotheses, special tokens."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.logits import without_tokens
from rnnlab.scans.machine import platform_in_use
from rnnlab.scans.plan import is_known

# On an accelerator: what a search does once a block (the stop test, storing tokens) is a kernel for each part of it.
_BLOCK = 8

# (carry, tokens [batch]) -> carry, (logits [batch, vocabulary], attention weights [batch, source] or None)
Step = Callable[[Any, Array], tuple[Any, tuple[Array, Array | None]]]


class Hypotheses(NamedTuple):
    """The best outputs of each row, best first.

    `tokens` `[batch, n, time]` up to and including EOS, then padding; `scores` `[batch, n]`, by which the search ranks
    them: log-probability in nats over the length penalty, minus the coverage penalty, -inf if there are fewer than n;
    `log_p` `[batch, n, time]`, the log-probability of each token, 0 in the padding.
    """

    tokens: Int[Array, "batch n time"]
    scores: Float[Array, "batch n"]
    log_p: Float[Array, "batch n time"]


class SpecialTokens(NamedTuple):
    """Ids of the special tokens BOS, EOS and PAD."""

    bos: int
    eos: int
    pad: int

    @property
    def never_predicted(self) -> tuple[int, int]:
        """The ids that no output contains: BOS and PAD."""
        return self.bos, self.pad


def resolve_block(block: int | None, max_length: int) -> tuple[int, int]:
    """Returns the tokens of an iteration of a search (1 on a CPU, 8 elsewhere, unless given), and those of all
    iterations that `max_length` tokens need. A symbolic `max_length` has blocks of 1.

    Raises:
      ValueError: it is below 1.
    """
    if block is not None and block < 1:
        raise ValueError(f"block must be at least 1, not {block}")
    if not is_known(max_length):
        return 1, max_length
    block = block or (1 if platform_in_use() == "cpu" else _BLOCK)
    return block, -(-max_length // block) * block


def write(values: Array, new: Sequence[Array], time: Array) -> Array:
    """Puts consecutive steps into `values` `[time, ...]`, from `time` on."""
    return jax.lax.dynamic_update_slice_in_dim(values, jnp.stack(new).astype(values.dtype), time, axis=0)


def log_probabilities(logits: Float[Array, "batch vocabulary"], special: SpecialTokens) -> Array:
    """Normalises logits, excluding the tokens that are never predicted."""
    return jax.nn.log_softmax(without_tokens(logits, special.never_predicted), axis=-1)


def ranked(found: Any, number: int) -> Any:
    """Returns the `number` best of each row of a tuple with `scores`, such as `Hypotheses`, best first."""
    return take(found, jax.lax.top_k(found.scores, number)[1])


def take(tree: Any, index: Int[Array, "batch n"]) -> Any:
    """Takes the entries at `index` of each row of leaves `[batch, n, ...]`."""
    return jax.tree.map(
        lambda v: jnp.take_along_axis(v, index.reshape(*index.shape, *[1] * (v.ndim - 2)), axis=1), tree
    )
