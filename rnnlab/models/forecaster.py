"""Forecasts of series of numbers: predicts a horizon from a look-back."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.choice import check_choice
from rnnlab.models.dropout import draw_mask
from rnnlab.models.embedding import Lookup
from rnnlab.models.precision import Linear, compute_in
from rnnlab.models.recurrent import Stack
from rnnlab.scans.product import apply_mask

NORMALISATIONS = ("none", "last", "instance")
DECODINGS = ("direct", "segments")
OUTPUTS = {"values": 0, "normal": 2, "student": 3}  # numbers per step; for values as many as requested
_SMALLEST_DEVIATION = 1e-5  # added to the variance of a window, as in Kim et al.
_SMALLEST_SCALE = 1e-3  # of a distribution, in deviations of a window
_LEAST_FREEDOM = 2.0  # degrees of freedom above which a Student distribution has a variance


class _Level(NamedTuple):
    """The normalisation of a window, `[1, batch, channels]`: a forecast is `spread` times an output, plus `level`."""

    level: Array
    spread: Array


class Forecaster(nnx.Module):
    """A stack that reads a look-back in segments, and predicts the whole horizon in parallel.

    Each segment of `segment` steps goes through a linear layer and a ReLU, and is one step of the recurrence. By
    default channels are read separately, with shared parameters. With decoding "segments" (SegRNN: Lin et al. 2023,
    arXiv 2308.11200) the last states take one step for each segment of the horizon, all in parallel; its input is the
    segment's embedding, half of which may be the channel's if channels are read separately. A linear layer maps the
    output to the segment. With "direct" one linear layer maps the last output to all steps.

    Args:
      channels: numbers of a step.
      look_back, horizon: steps that are read and predicted; the segment must divide the look-back.
      joint: read all channels together.
      normalisation: of each window and channel, undone on the forecast: "none"; "last" subtracts the last value;
        "instance" subtracts the mean and divides by the standard deviation, then applies a learnt scale and shift
        (reversible instance normalisation: Kim et al. 2022).
      decoding: "segments" or "direct".
      segment: steps of a segment.
      channel_embedding: for "segments", unless joint.
      output: the numbers predicted for each step and channel: "values" (`values` of them, in ascending order: means or
        quantiles), "normal" (mean, standard deviation) or "student" (location, scale, degrees of freedom above 2).
      output_dropout: the rate on the input of the last linear layer.
      dtype: of products: "float32" or "bfloat16" (`rnnlab.models.compute_in`).
      stack: arguments of `Stack`; its input size is `features`.

    Raises:
      ValueError: an unknown name, a segment that does not divide the look-back, or bidirectional with "segments".
    """

    def __init__(
        self,
        channels: int,
        look_back: int,
        horizon: int,
        *,
        joint: bool = False,
        normalisation: str = "last",
        decoding: str = "segments",
        segment: int = 1,
        channel_embedding: bool = True,
        output: str = "values",
        values: int = 1,
        output_dropout: float = 0.0,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **stack,
    ):
        self.normalisation = check_choice("normalisation", normalisation, NORMALISATIONS)
        self.decoding = check_choice("decoding", decoding, DECODINGS)
        self.output = check_choice("output", output, tuple(OUTPUTS))
        if look_back % segment:
            raise ValueError(f"segment: {segment} does not divide the look-back of {look_back}")
        if decoding == "segments" and stack.get("bidirectional"):
            raise ValueError(
                "bidirectional: decoding 'segments' continues from the last state, forwards only; use direct"
            )
        self.horizon, self.segment, self.output_dropout = horizon, segment, output_dropout
        self.numbers = OUTPUTS[output] or values
        self.together = channels if joint else 1  # channels that a step of the recurrence reads
        size = stack["features"]
        self.embed = Linear(segment * self.together, size, rngs=rngs)
        self.stack = Stack(in_features=size, rngs=rngs, **stack)
        if normalisation == "instance":
            self.scale, self.shift = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))
        steps = horizon
        if decoding == "segments":
            steps, of_channel = segment, (size // 2 if channel_embedding and not joint else 0)
            self.positions = nnx.Param(jax.random.normal(rngs.params(), (-(-horizon // segment), size - of_channel)))
            drawn = jax.random.normal(rngs.params(), (channels, of_channel))
            self.channels = nnx.Param(drawn) if of_channel else None
        numbers = steps * self.together * self.numbers
        self.read = Linear(self.stack.out_features, numbers, wide=True, rngs=rngs)
        compute_in(dtype, self)

    def __call__(
        self,
        inputs: Float[Array, "look_back batch channels"],
        *,
        rngs: nnx.Rngs | None = None,
        segments: int | None = None,
    ) -> Float[Array, "steps batch channels numbers"]:
        """Predicts the `horizon` steps after a look-back; decoding "segments" can predict the first `segments` only."""
        normal, level = self._normalise(inputs)
        last, states = self._encode(normal, rngs)
        outputs = last[None]
        if self.decoding == "segments":
            outputs = self._step_into(states, inputs.shape[1:], segments, rngs)
        dropped = apply_mask(outputs, draw_mask(rngs, self.output_dropout, outputs.shape))
        found = self.read(dropped)  # [segments or 1, batch * (channels or 1), steps * (1 or channels) * numbers]
        batch, channels = inputs.shape[1:]
        parts = found.reshape(len(found), batch, channels // self.together, -1, self.together, self.numbers)
        steps = jnp.moveaxis(parts, 3, 1).reshape(-1, batch, channels, self.numbers)
        return self._restore(steps[: self.horizon], level)

    def _normalise(self, inputs: Array) -> tuple[Array, _Level]:
        level, spread = jnp.zeros_like(inputs[:1]), jnp.ones_like(inputs[:1])
        if self.normalisation == "none":
            return inputs, _Level(level, spread)
        if self.normalisation == "last":
            return inputs - inputs[-1:], _Level(inputs[-1:], spread)
        mean, deviation = inputs.mean(0, keepdims=True), jnp.sqrt(inputs.var(0, keepdims=True) + _SMALLEST_DEVIATION)
        scale, shift = self.scale[...], self.shift[...]
        spread = deviation / scale
        return (inputs - mean) / spread + shift, _Level(mean - shift * spread, spread)

    def _encode(self, inputs: Array, rngs: nnx.Rngs | None) -> tuple[Array, tuple]:
        """Returns the summary of each look-back `[rows, out]`, and the states; rows are windows, or their channels."""
        look_back, batch, channels = inputs.shape
        parts = inputs.reshape(look_back // self.segment, self.segment, batch, channels // self.together, self.together)
        rows = jnp.moveaxis(parts, 1, 3).reshape(len(parts), -1, self.segment * self.together)
        read = jax.nn.relu(self.embed(rows))
        outputs, states = self.stack(read, noise=self.stack.draw(rngs, *read.shape[:2]))
        return self.stack.last(outputs, states), states

    def _step_into(self, states: tuple, shape: tuple[int, ...], segments: int | None, rngs: nnx.Rngs | None) -> Array:
        """Returns the output of one step from the states for each segment, `[segments, rows, out]`."""
        batch, channels = shape
        rows = batch * (channels // self.together)
        positions = self.positions[:segments]
        number, ids = len(positions), jnp.arange(len(positions))[:, None, None]
        table = positions
        if self.channels is not None:
            of_channel = self.channels[...]
            both = (jnp.repeat(positions, channels, axis=0), jnp.tile(of_channel, (number, 1)))
            table = jnp.concatenate(both, axis=-1)
            ids = ids * channels + jnp.arange(channels)
        ids = jnp.broadcast_to(ids, (number, batch, rows // batch)).reshape(1, -1)
        before = jax.tree.map(lambda entry: jnp.tile(entry, (number, 1)), states)
        outputs, _ = self.stack(Lookup(ids, table), before, noise=self.stack.draw(rngs, 1, number * rows))
        return outputs.reshape(number, rows, -1)

    def _restore(self, found: Array, level: _Level) -> Array:
        """Converts outputs to the units of the inputs."""
        spread, base = level.spread[..., None], level.level[..., None]
        if self.output == "values":
            return jnp.sort(found * spread + base, axis=-1)  # quantiles must not cross (Chernozhukov et al. 2010)
        mean = found[..., :1] * spread + base
        scale = (jax.nn.softplus(found[..., 1:2]) + _SMALLEST_SCALE) * jnp.abs(spread)
        freedom = _LEAST_FREEDOM + jax.nn.softplus(found[..., 2:])
        return jnp.concatenate([mean, scale, freedom], axis=-1)
