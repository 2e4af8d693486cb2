"""Many-to-one and many-to-many models."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import State
from rnnlab.choice import check_choice
from rnnlab.models.dropout import draw_mask
from rnnlab.models.pooling import POOLINGS, Pooling
from rnnlab.models.precision import Linear, compute_in
from rnnlab.models.recurrent import Stack
from rnnlab.models.tokens import TokenInputs, WordInputs, Words
from rnnlab.scans.product import apply_mask

Inputs = Float[Array, "time batch in"] | Int[Array, "time batch"] | Words


class _Sequence(nnx.Module):
    """The input layer, the stack and the output layer."""

    def __init__(
        self,
        in_features: int,
        *,
        front: TokenInputs | WordInputs | None,
        output_dropout: float,
        rngs: nnx.Rngs,
        **stack: Any,
    ):
        self.front, self.output_dropout = nnx.data(front), output_dropout
        self.stack = Stack(in_features=front.features if front else in_features, rngs=rngs, **stack)

    def _run(
        self, inputs: Inputs, seq_lengths: Array | None, dt: Array | None, rngs: nnx.Rngs | None
    ) -> tuple[Float[Array, "time batch out"], tuple[State, ...]]:
        time, batch = inputs.shape[:2]
        read: Any = inputs if self.front is None else self.front(inputs, rngs=rngs)  # type: ignore[arg-type]
        drawn = self.stack.draw(rngs, time, batch)
        return self.stack(read, seq_lengths=seq_lengths, dt=dt, noise=drawn)

    def _dropped(self, values: Array, rngs: nnx.Rngs | None) -> Array:
        return apply_mask(values, draw_mask(rngs, self.output_dropout, values.shape))


class ManyToOne(_Sequence):
    """Maps a sequence of numbers or ids to one vector: a classifier's logits, or a regressor's answer.

    Args:
      in_features, out_features: sizes of a step's input and of the answer.
      front: embeds tokens for the stack; without it the inputs are numbers, or ids that index W.
      pooling: "last" (`Stack.last`), or a kind of `Pooling`.
      output_dropout: rate on the inputs of the output layer.
      dtype: of products: "float32" or "bfloat16" (`rnnlab.models.compute_in`).
      stack: arguments of `Stack`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        front: TokenInputs | WordInputs | None = None,
        pooling: str = "last",
        output_dropout: float = 0.0,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **stack: Any,
    ):
        super().__init__(in_features, front=front, output_dropout=output_dropout, rngs=rngs, **stack)
        check_choice("pooling", pooling, ("last", *POOLINGS))
        size = self.stack.out_features
        self.pooling = nnx.data(None if pooling == "last" else Pooling(pooling, size, rngs=rngs))
        pooled = self.pooling.out_features if self.pooling else size
        self.output = Linear(pooled, out_features, wide=True, rngs=rngs)
        compute_in(dtype, self)

    def __call__(
        self,
        inputs: Inputs,
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        dt: Float[Array, "time batch"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch out"]:
        """Returns the answers `[batch, out_features]`; `dt` is the time between steps, for cells in continuous time."""
        outputs, states = self._run(inputs, seq_lengths, dt, rngs)
        if self.pooling is None:
            pooled = self.stack.last(outputs, states, seq_lengths)
        else:
            pooled = self.pooling(outputs, seq_lengths)
        return self.output(self._dropped(pooled, rngs))


class ManyToMany(_Sequence):
    """Maps a sequence to one vector per step (a tagger, music); arguments as in `ManyToOne`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        front: TokenInputs | WordInputs | None = None,
        output_dropout: float = 0.0,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **stack: Any,
    ):
        super().__init__(in_features, front=front, output_dropout=output_dropout, rngs=rngs, **stack)
        self.output = Linear(self.stack.out_features, out_features, wide=True, rngs=rngs)
        compute_in(dtype, self)

    def __call__(
        self,
        inputs: Inputs,
        seq_lengths: Int[Array, "batch"] | None = None,
        *,
        dt: Float[Array, "time batch"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "time batch out"]:
        """Returns the answers `[time, batch, out_features]`; those in the padding are undefined."""
        outputs, _ = self._run(inputs, seq_lengths, dt, rngs)
        return self.output(self._dropped(outputs, rngs))
