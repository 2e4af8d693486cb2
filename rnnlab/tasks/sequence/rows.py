"""Encoded sequences and their answers as padded batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnlab.data.pipeline import Size
from rnnlab.models.tokens import Words


class SequenceBatch(NamedTuple):
    """Padded sequences. A row that only fills up the batch has length 0.

    `inputs` `[time, batch, features]`, ids `[time, batch]`, or `Words`; `seq_lengths` `[batch]`; `labels` `[batch]`
    or `[numbers, batch]` for one answer, `[time, batch]` or `[time, batch, labels]` for one per step; `dt`
    `[time, batch]` if time is irregular.
    """

    inputs: Any
    seq_lengths: Any
    labels: Any
    dt: Any = None


class Steps:
    """Concatenated sequences of unequal length.

    Args:
      values: of all steps, `[steps, ...]`.
      lengths: of each sequence.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray):
        self.values, self.lengths = values, np.asarray(lengths, np.int64)
        self._ends = np.cumsum(self.lengths)

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray]) -> "Steps":
        """Joins one or more sequences."""
        return cls(np.concatenate(sequences), np.array([len(each) for each in sequences]))

    def row(self, number: int) -> np.ndarray:
        """Returns one sequence, `[steps, ...]`."""
        return self.values[self._ends[number] - self.lengths[number] : self._ends[number]]

    def padded(self, rows: Sequence[int], time: int, columns: int) -> np.ndarray:
        """Returns some sequences as `[time, columns, ...]`, 0 where they are shorter, then columns of 0."""
        found = np.zeros((time, columns, *self.values.shape[1:]), self.values.dtype)
        for column, row in enumerate(rows):
            found[: self.lengths[row], column] = self.row(row)
        return found


class SequenceRows:
    """Sequences with their answers, as the pipeline reads them.

    Args:
      inputs: numbers `[steps, features]` or ids.
      labels: of each step, or an array `[sequences, ...]`; None: no labels.
      characters: ids `[steps, letters]` of the characters of each word.
      dt: the time between steps.
    """

    def __init__(
        self,
        inputs: Steps,
        labels: Steps | np.ndarray | None = None,
        *,
        characters: Steps | None = None,
        dt: Steps | None = None,
    ):
        self.inputs, self.labels, self.characters, self.dt = inputs, labels, characters, dt

    def __len__(self) -> int:
        return len(self.inputs.lengths)

    @property
    def steps(self) -> np.ndarray:
        """The steps of each sequence, `[1, sequences]`."""
        return self.inputs.lengths[None]

    def assemble(self, rows: Sequence[int], size: Size, batch_size: int) -> SequenceBatch:
        """Makes the padded batch of some rows, filled up to `batch_size` columns."""
        (time,) = size
        inputs: Any = self.inputs.padded(rows, time, batch_size)
        if self.characters is not None:
            inputs = Words(inputs, self.characters.padded(rows, time, batch_size))
        lengths = np.zeros(batch_size, np.int32)
        lengths[: len(rows)] = self.inputs.lengths[list(rows)]
        dt = None if self.dt is None else self.dt.padded(rows, time, batch_size)
        return SequenceBatch(inputs, lengths, self._labels(rows, time, batch_size), dt)

    def _labels(self, rows: Sequence[int], time: int, batch_size: int) -> np.ndarray | None:
        if isinstance(self.labels, Steps):
            return self.labels.padded(rows, time, batch_size)
        if self.labels is None:
            return None
        found = np.zeros((batch_size, *self.labels.shape[1:]), self.labels.dtype)
        found[: len(rows)] = self.labels[list(rows)]
        return np.moveaxis(found, 0, -1)
