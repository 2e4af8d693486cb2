"""Several seq2seq models as one: the mean of their predictions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.models.seq2seq import Seq2Seq


class Ensemble(nnx.Module):
    """The mean of the probabilities of models with the same vocabularies (Sutskever et al. 2014, section 3.5).

    It has the interface of `Seq2Seq`; its states and its memory are tuples of those of the models.
    """

    def __init__(self, models: Sequence[Seq2Seq]):
        self.models = nnx.List(models)

    def encode(self, source: Int[Array, "source batch"], seq_lengths: Int[Array, "batch"]) -> tuple[tuple, tuple]:
        """Returns the initial states and the memory of each model."""
        states, memory = zip(*(model.encode(source, seq_lengths) for model in self.models), strict=True)
        return states, memory

    def step(
        self, states: tuple, tokens: Int[Array, "batch"], memory: Any
    ) -> tuple[tuple, tuple[Float[Array, "batch vocabulary"], Float[Array, "batch source"] | None]]:
        """Reads one token of each sequence; returns the new states, then logs of the mean probabilities and the mean
        attention weights of the models with attention."""
        steps = zip(self.models, states, memory, strict=True)
        states, found = zip(*(model.step(own, tokens, known) for model, own, known in steps), strict=True)
        logits, weights = zip(*found, strict=True)
        attending = [each for each in weights if each is not None]
        return states, (_mean(logits), sum(attending) / len(attending) if attending else None)

    def __call__(
        self, source: Int[Array, "source batch"], seq_lengths: Int[Array, "batch"], targets: Int[Array, "target batch"]
    ) -> Float[Array, "target batch vocabulary"]:
        """Returns logs of the mean probabilities of the token after each of `targets`."""
        return _mean([model(source, seq_lengths, targets) for model in self.models])


def _mean(logits: Sequence[Any]) -> Array:
    log_p = jax.nn.log_softmax(jnp.stack(logits), axis=-1)
    return jax.scipy.special.logsumexp(log_p, axis=0) - jnp.log(len(logits))
