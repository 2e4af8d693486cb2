"""The other two shapes of a recurrent model: many-to-one and many-to-many."""

from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import State
from rnnlab.models.recurrent import Stack


class _Sequence(nnx.Module):
    """A stack, and a layer that reads it."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, **stack):
        self.stack = Stack(in_features=in_features, rngs=rngs, **stack)
        self.output = nnx.Linear(self.stack.out_features, out_features, rngs=rngs)

    def _run(
        self, inputs: Array, seq_lengths: Array | None, dt: Array | None, rngs: nnx.Rngs | None
    ) -> tuple[Array, tuple[State, ...]]:
        time, batch = inputs.shape[:2]
        return self.stack(inputs, seq_lengths=seq_lengths, dt=dt, noise=self.stack.draw(rngs, time, batch))


class ManyToOne(_Sequence):
    """A sequence in (numbers, or ids), one vector out: a classifier by its logits, or a regressor.

    Args:
      in_features, out_features: sizes of a step's input and of the answer.
      stack: arguments of `Stack`.
    """

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"],
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        dt: Float[Array, "time batch"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch out"]:
        """The answer `[batch, out_features]`, read from what `Stack.last` returns; `dt` as in `rnnlab.scans.scan`."""
        outputs, states = self._run(inputs, seq_lengths, dt, rngs)
        return self.output(self.stack.last(outputs, states, seq_lengths))


class ManyToMany(_Sequence):
    """A sequence in, one vector out of every step (a tagger, a language model); arguments as in `ManyToOne`."""

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"],
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        dt: Float[Array, "time batch"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "time batch out"]:
        """The answers `[time, batch, out_features]`; those in the padding mean nothing."""
        outputs, _ = self._run(inputs, seq_lengths, dt, rngs)
        return self.output(outputs)
