"""Errors of forecasts over all windows of a split, by step and channel, with a seasonal-naive baseline."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.data.pipeline import evaluation_batches
from rnnlab.data.windows import Numbers, WindowBatch
from rnnlab.models.forecaster import Forecaster
from rnnlab.tasks.base import ModelParams, Scores
from rnnlab.tasks.sequence.forecast import ForecastTask, weighted_targets
from rnnlab.training.placing import fetch, place_rows, whole_rows
from rnnlab.training.step import split_model

ERRORS = ("mse", "mae", "naive_mse", "naive_mae")


class Errors(NamedTuple):
    """The errors on a split.

    Attributes:
      by_step: the mean of each of `ERRORS` at each step of the horizon, `[errors, horizon]`; NaN if all of its values
        are missing.
      by_channel: the same for each channel, `[errors, channels]`.
      scores: means over all values that are not missing.
    """

    by_step: np.ndarray
    by_channel: np.ndarray
    scores: Scores


class Evaluator:
    """The compiled model of a task; one object serves every split and step."""

    def __init__(self, task: ForecastTask):
        self._merge, _ = split_model(task.sketch)
        self._task, self._size = task, task.config.evaluation.batch_size
        self._measure = jax.jit(lambda params, batch: self._sums(self._merge(params), batch))
        self._predict = jax.jit(lambda params, inputs: self._merge(params)(inputs))

    def errors(self, params: ModelParams, split: str) -> Errors:
        """Measures the errors over all windows of a split; the mean of numbers is taken in float64."""
        windows = self._task.windows(split)
        sums = None
        for _, batch in evaluation_batches(windows, [windows.size], whole_rows(self._size, params)):
            found = fetch(self._measure(params, place_rows(batch, params)))
            found = jax.tree.map(lambda value: np.asarray(value, np.float64), found)
            sums = found if sums is None else jax.tree.map(np.add, sums, found)
        assert sums is not None  # a split has a window
        errors, counts, others = sums
        scores: Scores = {name: float(value / counts.sum()) for name, value in others.items()}
        scores |= {name: float(value) for name, value in zip(ERRORS, errors.sum((1, 2)) / counts.sum(), strict=True)}
        first = {name: scores.pop(name) for name in ("loss", *ERRORS)}
        with np.errstate(invalid="ignore"):
            return Errors(errors.sum(2) / counts.sum(1), errors.sum(1) / counts.sum(0), first | scores)

    def predict(self, params: ModelParams, inputs: np.ndarray) -> np.ndarray:
        """Returns the outputs `[horizon, windows, channels, numbers]` for any number of look-backs."""
        found, size = [], whole_rows(self._size, params)
        for start in range(0, inputs.shape[1], size):
            part = inputs[:, start : start + size]
            filled = np.pad(part, ((0, 0), (0, size - part.shape[1]), (0, 0)))  # of one compiled shape
            found.append(fetch(self._predict(params, place_rows(filled, params)))[:, : part.shape[1]])
        return np.concatenate(found, axis=1)

    def _sums(self, model: Forecaster, batch: WindowBatch) -> tuple[Array, Array, dict[str, Array]]:
        """Returns the sums of a batch: of each of `ERRORS` and of its weights over the windows, and of further scores
        over all numbers."""
        output, outputs = self._task.output, model(batch.inputs)
        targets, weights = weighted_targets(batch)
        naive = seasonal_naive(batch.inputs, len(targets), self._task.period)
        differences = [(forecast - targets) * weights for forecast in (output.forecast(outputs), naive)]
        errors = jnp.stack([measure(each).sum(1) for each in differences for measure in (jnp.square, jnp.abs)])
        loss = output.loss(outputs, targets, weights)
        others = {"loss": loss, **dict.fromkeys(set(output.metrics) - {"coverage"}, loss)}
        if "coverage" in output.metrics:
            inside = (outputs[..., 0] <= targets) & (targets <= outputs[..., -1])
            others["coverage"] = 100 * (inside * weights).sum()
        return errors, weights.sum(1), others


def seasonal_naive(inputs: Numbers, horizon: int, period: int) -> Numbers:
    """Repeats the last `period` steps of look-backs `[look_back, batch, channels]`, which have at least that many."""
    return inputs[len(inputs) - period + np.arange(horizon) % period]
