"""Hard monotonic attention, summed over all alignments (Wu and Cotterell 2019, arXiv 1905.06319)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import State
from rnnlab.models.attention import Attention
from rnnlab.models.decoder import Decoder, Memory
from rnnlab.models.dropout import Noise
from rnnlab.models.embedding import Lookup, embed
from rnnlab.models.precision import Linear
from rnnlab.scans.product import apply_mask

_FARTHEST = 8
_NEVER = -1e9  # log-probability 0 with a gradient of 0, unlike -inf


class Alignment(NamedTuple):
    """The distribution over alignments after a step: `prior` `[batch, source]`, the log-probability of each source
    step, given the tokens read; `said` `[batch, source, vocabulary]`, the log-probability of each token there."""

    prior: Array
    said: Array


class Monotonic(nnx.Module):
    """A decoder aligned to one source step at a time, which predicts a token there and moves to that or a later step.

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
        self.distance = Linear(features, _FARTHEST + 1, wide=True, rngs=rngs)
        self.mix_query = Linear(features, features, use_bias=False, rngs=rngs)
        self.mix_memory = Linear(memory_features, features, use_bias=False, rngs=rngs)

    def read(
        self, hidden: Float[Array, "target batch features"], mixed: Array, mask: Array | None
    ) -> Float[Array, "target batch source features"]:
        """Returns the output layer's input at each source step, given m_j M, `mixed` `[source, batch, features]`."""
        mixed = jnp.tanh(self.mix_query(hidden)[:, :, None] + mixed.transpose(1, 0, 2))
        return apply_mask(mixed, None if mask is None else mask[:, :, None])

    def moves(self, hidden: Float[Array, "target batch features"], keys: Array, valid: Array) -> Array:
        """Returns log-probabilities `[target, batch, source, source]` of each source step (last axis) after another."""
        steps = jnp.arange(keys.shape[0])
        far = steps - steps[:, None]
        distances = self.distance(hidden)[..., jnp.clip(far, 0, _FARTHEST)]
        allowed = (far >= 0) & valid.T[:, None]
        scores = self.attention.scores(hidden, keys)[:, :, None] + distances
        log_p = jax.nn.log_softmax(jnp.where(allowed, scores, _NEVER))
        return jnp.where(allowed, log_p, _NEVER)


class MonotonicDecoder(Decoder):
    """A decoder that predicts each token from the single source step that it is aligned to, by hard attention.

    Its last state is the `Alignment`, and its memory's `outputs` are the output layer's inputs at each source step. The
    attention weights that it returns are the alignment probabilities.

    Args:
      vocabulary_size, memory_features, features, context, input_feeding, options: as in `Decoder`.

    Raises:
      ValueError: a context in every step, or input feeding.
    """

    def __init__(
        self,
        vocabulary_size: int,
        memory_features: int,
        *,
        features: int,
        context: str = "init",
        input_feeding: bool = False,
        rngs: nnx.Rngs,
        **options,
    ):
        if context != "init":
            raise ValueError(f"context: {context!r} is not allowed with attention 'monotonic'; use 'init'")
        if input_feeding:
            raise ValueError("input_feeding: requires attention dot or general, not 'monotonic'")
        super().__init__(vocabulary_size, memory_features, features=features, rngs=rngs, **options)
        self.monotonic = Monotonic(self.stack.out_features, memory_features, rngs=rngs)

    def start(self, states: tuple[State, ...], memory: Memory) -> tuple:
        """Returns the states before the first step: those of the stack and the first alignment."""
        return (*states, begin(memory.valid, self.embedding.num_embeddings))

    def remember(self, outputs: Array, valid: Bool[Array, "source batch"], context: Array) -> Memory:
        """Returns the memory of a source, with everything that is the same for all steps."""
        keys = self.monotonic.attention.keys(outputs)
        return Memory(self.monotonic.mix_memory(outputs), keys, valid, context)

    def _read(self, tokens: Array, states: tuple, memory: Memory, embedding_mask: Array | None, noise: Noise | None):
        *own, place = states
        embedded = embed(self.embedding, tokens, embedding_mask)
        _, moves, said = self._look(embedded, tuple(own), memory, noise)
        labels = jnp.concatenate([tokens[1:], tokens[:1]])  # the entry after the last token is not used
        log_p, priors = follow(place.prior, moves, said, labels)
        return log_p, jnp.exp(priors)

    def _step(self, tokens: Array, embedded: Array | Lookup, states: tuple, memory: Memory, noise: Noise | None):
        *own, place = states
        own, moves, said = self._look(embedded, tuple(own), memory, noise)
        prior = move(stay(place.prior, of_token(place.said, tokens)), moves[0])
        return (*own, Alignment(prior, said[0])), (say(prior, said[0]), jnp.exp(prior))

    def _look(self, embedded: Array | Lookup, states: tuple[State, ...], memory: Memory, noise: Noise | None):
        """Runs the stack; returns its states, and at each source step the log-probabilities of moves and tokens."""
        hidden, states, output_mask = self._run(embedded, states, noise)
        read = self.monotonic.read(hidden, memory.outputs, output_mask)
        moves = self.monotonic.moves(hidden, memory.keys, memory.valid)
        return states, moves, jax.nn.log_softmax(self.logits(read))


def begin(valid: Bool[Array, "source batch"], vocabulary_size: int) -> Alignment:
    """Returns the alignment before the first step: certainly at the first source step, with no token predicted."""
    at_first = jnp.where(jnp.arange(valid.shape[0]) == 0, 0.0, _NEVER)
    prior = jnp.broadcast_to(at_first, valid.T.shape)
    return Alignment(prior, jnp.zeros((*prior.shape, vocabulary_size)))


def move(
    before: Float[Array, "batch source"], moves: Float[Array, "batch source source"]
) -> Float[Array, "batch source"]:
    """Returns the log-probabilities of the source steps after a move from those of `before`."""
    return jax.scipy.special.logsumexp(before[:, :, None] + moves, axis=1)


def stay(prior: Float[Array, "batch source"], said: Float[Array, "batch source"]) -> Float[Array, "batch source"]:
    """Returns the posterior log-probabilities of the source steps, given `said`, that of one token at each of them."""
    joint = prior + said
    return joint - jax.scipy.special.logsumexp(joint, axis=1, keepdims=True)


def of_token(said: Float[Array, "... vocabulary"], token: Int[Array, "..."]) -> Array:
    """Returns the log-probability of a token at each source step: `[..., batch, source]` for tokens `[..., batch]`."""
    return jnp.take_along_axis(said, token[..., None, None], axis=-1)[..., 0]


def follow(
    first: Float[Array, "batch source"],
    moves: Float[Array, "target batch source source"],
    said: Float[Array, "target batch source vocabulary"],
    labels: Int[Array, "target batch"],
) -> tuple[Float[Array, "target batch vocabulary"], Float[Array, "target batch source"]]:
    """Runs the forward algorithm over a known target; returns log-probabilities of tokens and of alignments."""

    def step(before, at_step):
        moves, told = at_step
        prior = move(before, moves)
        return stay(prior, told), prior

    _, priors = jax.lax.scan(step, first, (moves, of_token(said, labels)))
    return say(priors, said), priors


def say(prior: Float[Array, "... source"], said: Float[Array, "... source vocabulary"]) -> Array:
    """Returns the log-probabilities of the next token, summed over the source steps."""
    return jax.scipy.special.logsumexp(prior[..., None] + said, axis=-2)
