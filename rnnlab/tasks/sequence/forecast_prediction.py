"""Continuations of each series of a file."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from rnnlab.config import join_names
from rnnlab.data.sequences.base import Examples, read_stream
from rnnlab.errors import UserError
from rnnlab.printing import to_csv
from rnnlab.tasks.base import ModelParams, Predictor
from rnnlab.tasks.sequence.features import match_features
from rnnlab.tasks.sequence.forecast import ForecastTask
from rnnlab.tasks.sequence.forecast_evaluation import Evaluator

_PLACE = "standard input"


class SeriesPredictor(Predictor):
    """Predicts a CSV, in the units of the data, for a file of the training format.

    Its rows are the `data.horizon` steps after the end of each series, numbered from 1; its columns are the number of
    the series (if the file has several), the step, and the channels, each followed by its further quantiles ("OT_0.1"),
    or by scale and degrees of freedom of its distribution ("OT_scale").

    Args:
      task: the task of the model.
      params: of its model.
    """

    takes_whole = True

    def __init__(self, task: ForecastTask, params: ModelParams):
        self._task, self._params = task, params
        self._evaluator, self._remarks = Evaluator(task), list[str]()

    def __call__(self, lines: Sequence[bytes], first: int) -> list[str]:
        """Returns the lines of the CSV for one file.

        Raises:
          UserError: a file that cannot be read, other channels than those of training, or a series shorter than the
            look-back.
        """
        (content,) = lines
        channels = self._task.known.channels
        examples = read_stream(self._stream_data(), content, _PLACE)
        examples = match_features(examples, self._task.known.names, len(channels), unit="channel")
        self._remarks += examples.remarks
        inputs = np.stack([self._look_back(examples, number) for number in range(len(examples.inputs))], axis=1)
        outputs = self._evaluator.predict(self._params, inputs)
        cells = self._task.output.cells(self._task.output.in_units(outputs, self._task.known.standard.scaler))
        columns = [column for channel in channels for column in self._task.output.columns(channel)]
        several = cells.shape[1] > 1
        rows: list[list] = [[*(["series"] if several else []), "step", *columns]]
        for number in range(cells.shape[1]):
            for step, values in enumerate(cells[:, number], start=1):
                rows.append([*([number + 1] if several else []), step, *(f"{value:.9g}" for value in values)])
        return to_csv(rows).splitlines()

    def _stream_data(self) -> ConfigDict:
        """Returns the fields of the data with the columns of training; others in the file are ignored."""
        data = copy.deepcopy(self._task.config.data)
        if names := self._task.known.names:
            data.columns.inputs = join_names(names)
        return data

    def _look_back(self, examples: Examples, number: int) -> np.ndarray:
        """Returns the last steps of a series, standardised."""
        rows, wanted = examples.inputs[number], self._task.config.data.look_back
        if len(rows) < wanted:
            raise UserError(f"{examples.places(number)}: {len(rows):,} steps; the model reads the last {wanted:,}")
        return self._task.known.standard.apply(rows)[-wanted:]

    def remarks(self) -> Iterator[str]:
        """Yields what to log on the files since the last call."""
        remarks, self._remarks = self._remarks, []
        yield from remarks
