"""The other two shapes of a recurrent model: many-to-one and many-to-many."""

from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.models.recurrent import Stack


class ManyToOne(nnx.Module):
    """A sequence in, one vector out: a classifier by its logits, or a regressor.

    Args:
      in_features, out_features: sizes of a step's input and of the answer.
      stack: arguments of `Stack`.
    """

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, **stack):
        self.stack = Stack(in_features=in_features, rngs=rngs, **stack)
        self.output = nnx.Linear(self.stack.out_features, out_features, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "time batch in"],
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch out"]:
        """The answer `[batch, out_features]`, read from the last state of the top layer."""
        masks = self.stack.draw_masks(rngs, *inputs.shape[:2])
        _, states = self.stack(inputs, seq_lengths=seq_lengths, masks=masks)
        return self.output(states[-1][0])


class ManyToMany(nnx.Module):
    """A sequence in, one vector out of every step (a tagger, a language model); arguments as in `ManyToOne`."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, **stack):
        self.stack = Stack(in_features=in_features, rngs=rngs, **stack)
        self.output = nnx.Linear(self.stack.out_features, out_features, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "time batch in"],
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "time batch out"]:
        """The answers `[time, batch, out_features]`; those in the padding mean nothing."""
        masks = self.stack.draw_masks(rngs, *inputs.shape[:2])
        outputs, _ = self.stack(inputs, seq_lengths=seq_lengths, masks=masks)
        return self.output(outputs)
