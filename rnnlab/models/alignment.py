"""Hard attention that only moves forward, summed over all alignments (Wu and Cotterell 2019, arXiv 1905.06319)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.models.attention import Attention
from rnnlab.scan.product import apply_mask

_FARTHEST = 8
_NEVER = -1e9  # a log-probability of nothing whose gradient is 0, which that of -inf would not be


class Alignment(NamedTuple):
    """What a decoder knows of its place after a step: `prior` `[batch, source]`, the log-probability of standing at
    each source step, given the tokens read; `said` `[batch, source, vocabulary]`, that of each token there."""

    prior: Array
    said: Array


class Monotonic(nnx.Module):
    """A decoder stands at one source step at a time, says a token there, and goes on to that step or a later one.

        p(a_t = j | a_(t-1) = i)  in proportion to  exp(h_t . (m_j K) + (h_t D + d)_(j-i)),  j >= i;  a_0 = 0
        p(y_t | a_t = j) = softmax(O tanh(h_t Q + m_j M))

    with one distance for all j - i of 8 or more. The probability of an output is summed over all alignments by the
    forward algorithm. Memory and time grow with target x source x (vocabulary + source), so it is for short sequences
    and small vocabularies: letters, phones, tags.

    Args:
      features, memory_features: sizes of the decoder's stack and of the encoder's outputs.
    """

    def __init__(self, features: int, memory_features: int, *, rngs: nnx.Rngs):
        self.attention = Attention("general", features, memory_features, rngs=rngs)
        self.distance = nnx.Linear(features, _FARTHEST + 1, rngs=rngs)
        self.mix_query = nnx.Linear(features, features, use_bias=False, rngs=rngs)
        self.mix_memory = nnx.Linear(memory_features, features, use_bias=False, rngs=rngs)

    def read(
        self, hidden: Float[Array, "target batch features"], outputs: Array, mask: Array | None
    ) -> Float[Array, "target batch source features"]:
        """What the output layer reads at each source step."""
        mixed = jnp.tanh(self.mix_query(hidden)[:, :, None] + self.mix_memory(outputs).transpose(1, 0, 2))
        return apply_mask(mixed, None if mask is None else mask[:, :, None])

    def moves(self, hidden: Float[Array, "target batch features"], keys: Array, valid: Array) -> Array:
        """Log-probabilities `[target, batch, source, source]` of each source step (last axis) after each other one."""
        steps = jnp.arange(keys.shape[0])
        far = steps - steps[:, None]
        distances = self.distance(hidden)[..., jnp.clip(far, 0, _FARTHEST)]
        allowed = (far >= 0) & valid.T[:, None]
        scores = self.attention.scores(hidden, keys)[:, :, None] + distances
        log_p = jax.nn.log_softmax(jnp.where(allowed, scores, _NEVER))
        return jnp.where(allowed, log_p, _NEVER)


def begin(valid: Bool[Array, "source batch"], vocabulary_size: int) -> Alignment:
    """Before the first step: at the first source step for sure, with nothing said."""
    at_first = jnp.where(jnp.arange(valid.shape[0]) == 0, 0.0, _NEVER)
    prior = jnp.broadcast_to(at_first, valid.T.shape)
    return Alignment(prior, jnp.zeros((*prior.shape, vocabulary_size)))


def move(
    before: Float[Array, "batch source"], moves: Float[Array, "batch source source"]
) -> Float[Array, "batch source"]:
    """Log-probabilities of the source steps after a move from those of `before`."""
    return jax.scipy.special.logsumexp(before[:, :, None] + moves, axis=1)


def stay(prior: Float[Array, "batch source"], said: Float[Array, "batch source"]) -> Float[Array, "batch source"]:
    """Log-probabilities of the source steps, given also what was `said` there, the log-probability of one token."""
    joint = prior + said
    return joint - jax.scipy.special.logsumexp(joint, axis=1, keepdims=True)


def of_token(said: Float[Array, "... vocabulary"], token: Int[Array, "..."]) -> Array:
    """The log-probability of a token at each source step: `[..., batch, source]` for tokens `[..., batch]`."""
    return jnp.take_along_axis(said, token[..., None, None], axis=-1)[..., 0]


def follow(
    first: Float[Array, "batch source"],
    moves: Float[Array, "target batch source source"],
    said: Float[Array, "target batch source vocabulary"],
    labels: Int[Array, "target batch"],
) -> tuple[Float[Array, "target batch vocabulary"], Float[Array, "target batch source"]]:
    """The forward algorithm over a known target: log-probabilities of each step's token, and of where it stands."""

    def step(before, at_step):
        moves, told = at_step
        prior = move(before, moves)
        return stay(prior, told), prior

    _, priors = jax.lax.scan(step, first, (moves, of_token(said, labels)))
    return say(priors, said), priors


def say(prior: Float[Array, "... source"], said: Float[Array, "... source vocabulary"]) -> Array:
    """Log-probabilities of the next token, wherever the decoder stands."""
    return jax.scipy.special.logsumexp(prior[..., None] + said, axis=-2)
