"""Standardisation of features by their statistics in training."""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnlab import files

_BLOCK = 1 << 20  # numbers summed at a time, in float64


class Scaler(NamedTuple):
    """Mean and standard deviation of each feature, float64 `[features]`.

    A constant feature has deviation 1, a feature without any value mean 0 and deviation 1.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def learn(cls, sequences: Sequence[np.ndarray]) -> "Scaler":
        """Computes it from sequences `[steps, features]` without padding; missing values (NaN) are ignored."""
        features = sequences[0].shape[-1]
        count, mean, squares = (np.zeros(features) for _ in range(3))
        for block in _blocks(sequences):  # combined as in Chan, Golub and LeVeque 1979
            there = ~np.isnan(block)
            new = there.sum(0)
            own_mean = np.where(there, block, 0).sum(0) / np.maximum(new, 1)
            own_squares = (np.where(there, block - own_mean, 0) ** 2).sum(0)
            total = np.maximum(count + new, 1)
            apart = own_mean - mean
            squares += own_squares + apart**2 * count * new / total
            mean += apart * new / total
            count += new
        deviation = np.sqrt(squares / np.maximum(count, 1))
        constant = deviation <= 10 * np.finfo(sequences[0].dtype).eps * np.abs(mean)  # only rounding
        return cls(mean, np.where(constant | (deviation == 0), 1.0, deviation))

    def fill(self, sequence: np.ndarray) -> np.ndarray:
        """Fills the missing values of `[steps, features]` with the last value before them, or else the mean."""
        missing = np.isnan(sequence)
        if not missing.any():
            return sequence
        steps = np.arange(len(sequence))[:, None]
        last = np.maximum.accumulate(np.where(missing, -1, steps), axis=0)
        filled = np.take_along_axis(sequence, np.maximum(last, 0), axis=0)
        return np.where(last < 0, self.mean, filled).astype(sequence.dtype)

    def apply(self, sequence: np.ndarray) -> np.ndarray:
        """Standardises `[steps, features]`, missing values filled, to float32."""
        return ((self.fill(sequence) - self.mean) / self.deviation).astype(np.float32)

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """Converts `[..., features]` to the units of the data, in float64."""
        return scaled * self.deviation + self.mean

    def save(self, path: pathlib.Path) -> None:
        """Writes it as JSON, atomically."""
        files.write_text(path, json.dumps({"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}))

    @classmethod
    def load(cls, path: pathlib.Path) -> "Scaler":
        """Reads the file of `save`."""
        return cls(**{name: np.array(values) for name, values in json.loads(path.read_text()).items()})


def _blocks(sequences: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    part: list[np.ndarray] = []
    size = 0
    for sequence in sequences:
        part.append(sequence)
        size += sequence.size
        if size >= _BLOCK:
            yield np.concatenate(part, dtype=np.float64)
            part, size = [], 0
    if part:
        yield np.concatenate(part, dtype=np.float64)
