"""Rows of unequal length in one array. Imports nothing from the rest of rnnlab."""

import array
from collections.abc import Iterable, Sequence

import numpy as np

_BLOCK = 1 << 15  # rows taken at a time: the index arrays take many times their memory


class Ragged:
    """Rows of ids.

    Args:
      values: `[ids + 1]`, int32: the concatenated rows, then one more cell, so that it is never empty.
      lengths: `[rows]`, of each row.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray):
        self.values, self.lengths = values, lengths
        self._ends = np.cumsum(lengths, dtype=np.int64)

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> "Ragged":
        """Joins rows, holding only one of them in its original form at a time."""
        values, lengths = array.array("i"), array.array("q")
        for row in rows:
            values.extend(row)
            lengths.append(len(row))
        values.append(0)
        return cls(np.asarray(values), np.asarray(lengths))

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, number: int) -> list[int]:
        """Returns one row."""
        return self.values[self._ends[number] - self.lengths[number] : self._ends[number]].tolist()

    def take(self, rows: np.ndarray) -> "Ragged":
        """Copies some rows, in the given order, with repetitions."""
        lengths = self.lengths[rows]
        begins, found = (self._ends - self.lengths)[rows], []
        for block in np.array_split(np.arange(len(rows)), len(rows) // _BLOCK + 1):
            many = lengths[block]
            within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
            found.append(self.values[np.repeat(begins[block], many) + within])
        return Ragged(np.concatenate([*found, self.values[-1:]]), lengths)

    def share(self, value: int) -> float:
        """Computes the share of `value` among all ids."""
        return float((self.values[:-1] == value).mean()) if len(self.values) > 1 else 0.0

    def padded(self, rows: np.ndarray, time: int, columns: int, *, padding: int) -> np.ndarray:
        """Returns ids `[time, columns]`: `rows`, cut off at `time`, then columns of padding."""
        step, lengths = np.arange(time)[:, None], self.lengths[rows]
        ids = np.full((time, columns), padding, np.int32)
        places = np.minimum(self._ends[rows] - lengths + step, len(self.values) - 1)
        ids[:, : len(rows)] = np.where(step < lengths, self.values[places], padding)
        return ids
