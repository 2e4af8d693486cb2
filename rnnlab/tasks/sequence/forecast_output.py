"""The prediction for each number: a value, quantiles, or a distribution; its loss, and its columns in a CSV."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from rnnlab.config import split_words
from rnnlab.data.sequences.scaler import Scaler
from rnnlab.data.windows import Numbers
from rnnlab.errors import UserError
from rnnlab.losses import absolute_error, normal_loss, quantile_loss, squared_error, student_loss

_DISTRIBUTIONS = {"none": (), "normal": ("scale",), "student": ("scale", "freedom")}
_POINTS = {"squared": squared_error, "absolute": absolute_error}


class Output(NamedTuple):
    """The prediction for each number.

    Attributes:
      kind: as `output` of `rnnlab.models.forecaster.Forecaster`.
      quantiles: in ascending order, including 0.5; empty: the mean.
      error: the training loss of values: "squared" or "absolute".
    """

    kind: str
    quantiles: tuple[float, ...]
    error: str

    @classmethod
    def of(cls, config: ConfigDict) -> "Output":
        """Reads it from a config.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        distribution, text = config.model.forecast.distribution, config.model.forecast.quantiles
        if distribution not in _DISTRIBUTIONS:
            raise UserError(
                f"config.model.forecast.distribution: {distribution!r} is not allowed; it must be one of "
                f"{', '.join(_DISTRIBUTIONS)}"
            )
        try:
            quantiles = tuple(map(float, split_words(text)))
        except ValueError:
            quantiles = (0.0,)
        ascending = list(quantiles) == sorted(set(quantiles)) and all(0 < each < 1 for each in quantiles)
        if quantiles and not (ascending and 0.5 in quantiles):
            raise UserError(
                f"config.model.forecast.quantiles: {text!r} is not allowed; it must be numbers between 0 and 1 in "
                "ascending order, 0.5 (which is scored) among them, such as 0.1,0.5,0.9"
            )
        if quantiles and distribution != "none":
            raise UserError("config.model.forecast.quantiles: not allowed with config.model.forecast.distribution")
        return cls("values" if distribution == "none" else distribution, quantiles, config.training.loss)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The scores in addition to those of every forecast."""
        return ("quantile_loss", "coverage") if self.quantiles else ("nll",) if self.kind != "values" else ()

    def forecast(self, outputs: Numbers) -> Numbers:
        """Returns the scored forecast of outputs `[..., numbers]`: the value, the median, or the mean."""
        return outputs[..., self.quantiles.index(0.5) if self.quantiles else 0]

    def loss(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Sums the loss over targets `[horizon, batch, channels]`, each times its weight."""
        if self.quantiles:
            return quantile_loss(outputs, targets, weights, jnp.array(self.quantiles))
        if self.kind == "normal":
            return normal_loss(outputs[..., 0], outputs[..., 1], targets, weights)
        if self.kind == "student":
            return student_loss(outputs[..., 0], outputs[..., 1], outputs[..., 2], targets, weights)
        return _POINTS[self.error](outputs[..., 0], targets, weights)

    def columns(self, channel: str) -> list[str]:
        """Names the columns of a channel: the forecast, then its further numbers."""
        others = [f"{each:g}" for each in self.quantiles if each != 0.5] or _DISTRIBUTIONS.get(self.kind, ())
        return [channel, *(f"{channel}_{other}" for other in others)]

    def cells(self, outputs: np.ndarray) -> np.ndarray:
        """Puts outputs `[..., channels, numbers]` into the order of `columns` of all channels, `[..., columns]`."""
        middle = self.quantiles.index(0.5) if self.quantiles else 0
        order = [middle, *(index for index in range(outputs.shape[-1]) if index != middle)]
        return outputs[..., order].reshape(*outputs.shape[:-2], -1)

    def in_units(self, outputs: np.ndarray, scaler: Scaler) -> np.ndarray:
        """Converts outputs `[..., channels, numbers]` to the units of the data."""
        if self.kind == "values":
            return np.moveaxis(scaler.inverse(np.moveaxis(outputs, -1, 0)), 0, -1)
        parts = [scaler.inverse(outputs[..., 0]), outputs[..., 1] * scaler.deviation]
        return np.stack([*parts, *np.moveaxis(outputs[..., 2:], -1, 0)], axis=-1)
