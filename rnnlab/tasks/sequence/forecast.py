"""Forecasting: predicts the steps of series of numbers after a look-back."""

import functools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.data.file_names import resolve_files
from rnnlab.data.pipeline import training_batches
from rnnlab.data.sequences.scaler import Scaler
from rnnlab.data.windows import WindowBatch, Windows
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.models.forecaster import Forecaster
from rnnlab.tasks.base import Batches, Carry, Loss, ModelParams, Predictor, Scores, Task
from rnnlab.tasks.exports import Exports
from rnnlab.tasks.fields import STACK
from rnnlab.tasks.sequence.checks import check_best_metric, check_used
from rnnlab.tasks.sequence.config import FIELDS
from rnnlab.tasks.sequence.forecast_data import Series, Standard, make_windows, read_series
from rnnlab.tasks.sequence.forecast_output import Output
from rnnlab.tasks.shown import Shown
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.workdir import reading_json

_PROBED = 8  # windows for measuring gradients
_FILE = "series.json"
_SKETCHED = 2  # channels of a model for checking a config
_HOURS = 24  # of a day: the season of most published datasets
_SCORES = ("loss", "mse", "mae")


class Known(NamedTuple):
    """The metadata of a run's data.

    Attributes:
      names: of the channels, if the data have names.
      standard: statistics of the training rows.
      splits: the available ones.
      digests: of the contents of the data.
    """

    names: tuple[str, ...]
    standard: Standard
    splits: tuple[str, ...]
    digests: dict[str, str]

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels."""
        return self.names or tuple(f"channel_{number + 1}" for number in range(len(self.standard.learnt.mean)))


class ForecastTask(Task):
    """Prediction of the next `data.horizon` steps of every window of some series.

    Attributes:
      known: the metadata of the data, from before training.
      output: the kind of prediction for each number.
    """

    fields: ClassVar = FIELDS
    fixed_in_use: ClassVar = ("model", "data.look_back", "data.horizon", "data.answer")
    places: ClassVar = ("data.directory", "data.files")  # the same data may move
    unit: ClassVar = "numbers"

    def __init__(self, config: ConfigDict, workdir: pathlib.Path, known: Known):
        super().__init__(config, workdir)
        self.known, self.output = known, Output.of(config)
        self._windows: dict[str, Windows] = {}

    # --- the work directory

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses an invalid config.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        super().check(config)
        make_optimizer(config.training)
        check_best_metric(config, (*_SCORES, *Output.of(config).metrics))
        check_used(config)
        if _period(config) > config.data.look_back:
            raise UserError(
                f"config.data.period: {config.data.period} is not allowed; the naive baseline repeats the last period "
                f"of config.data.look_back={config.data.look_back} steps"
            )
        Intervention(config.training.intervention, nnx.eval_shape(lambda: _make_model(config, _SKETCHED)))

    @classmethod
    def resolve_paths(cls, config: ConfigDict) -> None:
        """Makes file names absolute, in place."""
        resolve_files(config.data)

    @classmethod
    def has_data_of(cls, config: ConfigDict, workdir: pathlib.Path) -> bool:
        """Returns whether the current data of a config are those of a work directory."""
        try:
            with reading_json(workdir / _FILE) as made:
                digests = made["digests"]
            return digests == read_series(config.data).digests
        except UserError:
            return False

    @classmethod
    def create(cls, config: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads the series and computes mean and deviation of each channel over the training rows."""
        series = read_series(config.data)
        standard = Standard(series.scaler(), config.data.standardise)
        task = cls(config, workdir, Known(series.names, standard, tuple(series.splits), series.digests))
        task.__dict__["series"] = series  # read once
        return task

    @classmethod
    def load(cls, config: ConfigDict, saved: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads the file of `save`.

        Raises:
          UserError: the file is missing or damaged.
        """
        with reading_json(workdir / _FILE) as found:
            scaler = Scaler(*(np.array(found[name], np.float64) for name in Scaler._fields))
            standard = Standard(scaler, bool(found["standardise"]))
            digests = {str(split): str(value) for split, value in found["digests"].items()}
            return cls(config, workdir, Known(tuple(found["names"]), standard, tuple(found["splits"]), digests))

    def save(self) -> None:
        """Writes the file of `load` to the work directory."""
        learnt, standardise = self.known.standard
        found = self.known._asdict() | {name: values.tolist() for name, values in learnt._asdict().items()}
        found["standardise"] = standardise
        del found["standard"]
        write_text(self.workdir / _FILE, json.dumps(found))

    # --- data

    @functools.cached_property
    def series(self) -> Series:
        """The series, unchanged since the start of the run.

        Raises:
          UserError: they have changed, or cannot be read.
        """
        found = read_series(self.config.data)
        if found.digests != self.known.digests:
            changed = [split for split, made in self.known.digests.items() if found.digests.get(split) != made]
            raise UserError(
                f"config.data: the {(changed or ['further'])[0]} series have changed since {self.workdir} was made; "
                "restore them, or use another --workdir"
            )
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits."""
        return self.known.splits

    def open_data(self) -> None:
        """Checks that every split is available, unchanged, and has a window.

        Raises:
          UserError: names the error.
        """
        for split in self.series.splits:
            self.windows(split)

    def windows(self, split: str) -> Windows:
        """Returns all windows of a split, of standardised numbers.

        Raises:
          UserError: no window.
        """
        if split not in self._windows:
            part = self.series.splits[split]
            self._windows[split] = make_windows(part, split, self.known.standard, self.config.data)
        return self._windows[split]

    def log_data(self) -> None:
        """Logs the treatment of the data, and series without a window."""
        log = logging.getLogger("rnnlab")
        for remark in self.series.remarks:
            log.info("%s", remark)
        for split in self.splits:
            counts = self.windows(split).counts
            if short := counts.count(0):
                log.info("%s: %d of %d series have no window", split, short, len(counts))

    def summary(self) -> Iterator[str]:
        """Yields the number and size of windows."""
        windows = ", ".join(f"{len(self.windows(split)):,} of {split}" for split in self.splits)
        channels, data = len(self.known.channels), self.config.data
        yield f"windows: {windows}; {data.look_back} + {data.horizon} steps of {channels} channels"

    def longest(self) -> int:
        """Returns the number of segments that a recurrence reads."""
        return self.config.data.look_back // _segment(self.config)

    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Starts the training windows in an order drawn from a seed."""
        windows = self.windows("train")
        how = {"seed": seed, "process": process, "processes": processes}
        return iter(training_batches(windows, [windows.size], self.config.training.batch_size, **how))

    def describe(self, rows: Sequence[int]) -> str:
        """Names training windows by the file of their series and the first predicted row."""
        examples, windows = self.series.splits["train"].examples, self.windows("train")
        found = (windows.place(row) for row in rows[:_PROBED])
        return ", ".join(f"{examples.places(series)}: from its row {row + 1:,}" for series, row in found)

    @property
    def period(self) -> int:
        """The steps of the season of the naive baseline."""
        return _period(self.config)

    # --- model and loss

    def make_model(self) -> Forecaster:
        """Makes the model with its initial parameters, drawn from the seed."""
        return _make_model(self.config, len(self.known.channels))

    def loss(self, model: Forecaster, batch: WindowBatch, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the loss of every predicted number of the windows; in training with noise on the inputs."""
        inputs, noise = batch.inputs, self.config.training.input_noise
        if noise and rngs is not None:
            inputs += noise * jax.random.normal(rngs.dropout(), inputs.shape)
        return self._loss(model(inputs, rngs=rngs), batch, carry)

    def _loss(self, outputs: Array, batch: WindowBatch, carry: Carry = ()) -> Loss:
        targets, weights = (each[: len(outputs)] for each in weighted_targets(batch))
        return Loss(self.output.loss(outputs, targets, weights), weights.sum(), carry)

    def probe(self, split: str) -> WindowBatch:
        """Returns a few windows of a split, evenly spaced."""
        windows = self.windows(split)
        chosen = np.unique(np.linspace(0, len(windows) - 1, _PROBED).astype(int)).tolist()
        return windows.assemble(chosen, windows.size, len(chosen))

    def watched_loss(self, model: Forecaster, batch: WindowBatch) -> Array:
        """Computes the mean loss of the first segment: the others are parallel steps from the same state."""
        found = self._loss(model(batch.inputs, segments=1), batch)
        return found.total / jnp.maximum(found.weight, 1)  # all of a segment may be missing

    # --- scores and answers

    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes the scorer of a split, on standardised numbers, with the seasonal-naive baseline."""
        from rnnlab.tasks.sequence.forecast_evaluation import Evaluator

        evaluator = Evaluator(self)

        def scores(params: ModelParams, split: str) -> Scores:
            found = evaluator.errors(params, split).scores
            return {"windows": len(self.windows(split)), **found} if final else found

        return scores

    def lower_is_better(self, metric: str) -> bool:
        """Returns whether a metric is an error."""
        return metric != "coverage"

    def curves(self) -> dict[str, str]:
        """Returns the title of the curve of each score."""
        return {"mse": "mean squared error", "mae": "mean absolute error", "coverage": "coverage (%)"}

    def finish(self, params: ModelParams) -> Shown:
        """Writes the scores by step and by channel, and draws forecasts, of the test split."""
        from rnnlab.tasks.sequence.forecast_report import show_forecasts

        return show_forecasts(self, params)

    def predictor(self, params: ModelParams) -> Predictor:
        """Makes the predictor that continues the series of a file."""
        from rnnlab.tasks.sequence.forecast_prediction import SeriesPredictor

        return SeriesPredictor(self, params)

    def exports(self) -> Exports:
        """Returns the model as a program of standardised look-backs."""
        from rnnlab.tasks.sequence.forecast_exports import make_exports

        return make_exports(self)


def weighted_targets(batch: WindowBatch) -> tuple[Array, Array]:
    """Returns the targets and their weights, `[horizon, batch, channels]`: both are 0 where a value is missing (NaN
    would spoil the gradient)."""
    missing = jnp.isnan(batch.targets)
    return jnp.where(missing, 0, batch.targets), jnp.where(missing, 0, batch.weights[:, None])


def _segment(config: ConfigDict) -> int:
    """Returns the steps of a segment."""
    look_back, segment = config.data.look_back, config.model.forecast.segment
    return segment or max(steps for steps in range(1, _HOURS + 1) if look_back % steps == 0)


def _period(config: ConfigDict) -> int:
    """Returns the steps of the season of the naive baseline."""
    return config.data.period or (_HOURS if config.data.look_back >= _HOURS else 1)


def _make_model(config: ConfigDict, channels: int) -> Forecaster:
    model, output = config.model.to_dict(), Output.of(config)
    options = {name: model[name] for name in (*STACK, "bidirectional", "dtype")}
    own = {name: model["forecast"][name] for name in ("joint", "normalisation", "decoding", "channel_embedding")}
    try:
        return Forecaster(
            channels,
            config.data.look_back,
            config.data.horizon,
            segment=_segment(config),
            output=output.kind,
            values=len(output.quantiles) or 1,
            output_dropout=model["output_dropout"],
            rngs=nnx.Rngs(config.seed),
            **own,
            **options,
        )
    except ValueError as error:
        raise UserError(f"config.model: {error}") from None
