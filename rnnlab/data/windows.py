"""Windows of series of numbers: input steps, and the following steps to predict.

Time-major: a batch of windows is `[steps, batch, channels]`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnlab.data.pipeline import Size
from rnnlab.errors import UserError

Numbers = Any  # an array on the host, or within a compiled function
_ROUNDING = 1e-6  # tolerance of the sum of decimal shares


class WindowBatch(NamedTuple):
    """A batch of windows.

    Attributes:
      inputs: the input steps, `[look_back, batch, channels]`.
      targets: the following steps, `[horizon, batch, channels]`; NaN where a value is missing.
      weights: 1 for a window, 0 for a column that only fills up the batch, `[batch]`.
    """

    inputs: Numbers
    targets: Numbers
    weights: Numbers


class Span(NamedTuple):
    """Rows of a series that a split predicts, from `first` to before `end`."""

    first: int
    end: int


class Parts(NamedTuple):
    """The division of the rows of a series into training, validation and test, in this order: shares or counts."""

    train: float
    validation: float
    test: float

    @classmethod
    def read(cls, text: str) -> "Parts":
        """Parses "0.7,0.1,0.2" or "8640,2880,2880"; only the last may be 0.

        Raises:
          UserError: anything else.
        """
        try:
            parts = cls(*map(float, text.split(",")))
        except (TypeError, ValueError):
            parts = cls(-1, -1, -1)
        shares = sum(parts) <= 1 + _ROUNDING
        if not (min(parts[:2]) > 0 <= parts.test and (shares or all(part == int(part) for part in parts))):
            raise UserError(
                f"config.data.rows: {text!r} is not allowed; it must be the rows of train,validation,test, as shares "
                "such as 0.7,0.1,0.2 or as counts such as 8640,2880,2880"
            )
        return parts

    def spans(self, rows: int) -> tuple[Span, Span, Span]:
        """Returns the rows of each split of a series; shares are rounded as usual in the field: training and test down,
        and if they sum to 1 validation gets the rest.

        Raises:
          ValueError: the counts are more than the rows.
        """
        train, validation, test = map(int, self)
        if (total := sum(self)) <= 1 + _ROUNDING:
            train, test = (int(rows * share + _ROUNDING) for share in (self.train, self.test))
            whole = total >= 1 - _ROUNDING
            validation = rows - train - test if whole else int(rows * self.validation + _ROUNDING)
        if (used := train + validation + test) > rows:
            raise ValueError(f"{used:,} rows are more than the {rows:,} available")
        return Span(0, train), Span(train, train + validation), Span(train + validation, used)


class Windows:
    """All windows of some series with predicted steps within given spans: rows of `rnnlab.data.pipeline.Rows`.

    The input of a window may lie before the span, as when test rows follow training rows. Windows are in the order of
    the series and of time. Windows without any value to predict are skipped.

    Args:
      series: arrays `[steps, channels]`, all of the same channels; windows read them also where values are missing.
      spans: of each series.
      look_back, horizon: input and predicted steps of a window.
      missing: True where values of each series are missing, `[steps, channels]`; None: nowhere.

    Attributes:
      counts: of the windows of each series.
    """

    def __init__(
        self,
        series: Sequence[np.ndarray],
        spans: Sequence[Span],
        look_back: int,
        horizon: int,
        missing: Sequence[np.ndarray] | None = None,
    ):
        self.look_back, self.horizon = look_back, horizon
        self._rows = np.concatenate(series).astype(np.float32, copy=False)
        self._missing = None if missing is None else np.concatenate(missing)
        self._begin = np.cumsum([0, *(len(each) for each in series[:-1])])
        found = [
            begin + np.arange(max(first, look_back), max(0, end - horizon + 1), dtype=np.int64)
            for begin, (first, end) in zip(self._begin, spans, strict=True)
        ]
        if self._missing is not None:
            before = np.r_[0, np.cumsum(~self._missing.all(1))]  # rows with a value, before each row
            found = [starts[before[starts + horizon] > before[starts]] for starts in found]
        self.counts = [len(starts) for starts in found]
        self._starts = np.concatenate(found)  # of the predicted steps of each window

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def steps(self) -> np.ndarray:
        """The input and predicted steps of each window, `[2, windows]`."""
        return np.tile(np.array(self.size)[:, None], len(self))

    @property
    def size(self) -> Size:
        """The steps of every batch."""
        return self.look_back, self.horizon

    def place(self, window: int) -> tuple[int, int]:
        """Returns the series of a window, and its first predicted row, both from 0."""
        series = int(np.searchsorted(np.cumsum(self.counts), window, side="right"))
        return series, int(self._starts[window] - self._begin[series])

    def assemble(self, rows: Sequence[int], size: Size, batch_size: int) -> WindowBatch:
        """Makes the batch of some windows, filled up to `batch_size` with columns of zeros and weight 0."""
        look_back, horizon = size
        starts = self._starts[np.asarray(rows, np.int64)]
        numbers = self._rows[starts + np.arange(-look_back, horizon)[:, None]]
        if self._missing is not None:
            numbers[look_back:][self._missing[starts + np.arange(horizon)[:, None]]] = np.nan
        if len(starts) < batch_size:
            numbers = np.pad(numbers, ((0, 0), (0, batch_size - len(starts)), (0, 0)))
        weights = (np.arange(batch_size) < len(starts)).astype(np.float32)
        return WindowBatch(numbers[:look_back], numbers[look_back:], weights)
