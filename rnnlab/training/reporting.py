"""What a run tells: lines or a bar on the terminal, a CSV, TensorBoard files."""

import csv
import pathlib
import sys
import time
from collections.abc import Iterable, Mapping

import numpy as np
import tensorboardX
import tqdm

_FIELDS = ("step", "split", "name", "value")
_VECTOR_FIELDS = ("step", "split", "name", "index", "value")


class Reporter:
    """Writes `metrics.csv` (a row for each value: step, split, name, value), `vectors.csv` (the same of vectors, with
    an index) and TensorBoard events into a folder.

    On a terminal a bar shows the last training line; otherwise each is printed.

    Args:
      folder: the work directory.
      steps: where the bar ends; start: where it begins. Rows after `start`, left by a run that was killed, are dropped.
    """

    def __init__(self, folder: pathlib.Path, *, steps: int, start: int):
        self._metrics = _Rows(folder / "metrics.csv", _FIELDS, start)
        self._vectors = _Rows(folder / "vectors.csv", _VECTOR_FIELDS, start)
        self._events = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=start)
        self._bar = tqdm.tqdm(total=steps, initial=start, unit="step") if sys.stderr.isatty() else None
        self._clock = time.monotonic()

    def write(self, step: int, split: str, values: Mapping[str, float | str]) -> None:
        """Records `values` of a split ("train", "validation", "test") after `step` steps."""
        numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
        self._metrics.write((step, split, name, value) for name, value in numbers.items())
        for name, value in numbers.items():
            self._events.add_scalar(f"{split}/{name}", value, step)
        line = "  ".join(f"{name} {_short(value)}" for name, value in values.items())
        if self._bar is not None and split == "train":
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(line)
        else:
            self.say(f"step {step:>6}  {split:<10}  {line}")

    def write_vector(self, step: int, split: str, name: str, values: np.ndarray) -> None:
        """Records a vector after `step` steps; TensorBoard shows how its finite values are distributed."""
        self._write_vector(step, split, name, values)
        if (finite := values[np.isfinite(values)]).size:
            self._events.add_histogram(f"{split}/{name}", finite, step)

    def write_histogram(self, step: int, split: str, name: str, counts: np.ndarray, edges: np.ndarray) -> None:
        """Records how often a value fell between two of `edges` after `step` steps."""
        self._write_vector(step, split, name, counts)
        middles = (edges[:-1] + edges[1:]) / 2
        self._events.add_histogram_raw(
            f"{split}/{name}",
            min=edges[0],
            max=edges[-1],
            num=int(counts.sum()),
            sum=float(counts @ middles),
            sum_squares=float(counts @ middles**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def _write_vector(self, step: int, split: str, name: str, values: np.ndarray) -> None:
        self._vectors.write((step, split, name, index, value) for index, value in enumerate(values.tolist()))

    def say(self, line: str) -> None:
        """A line of its own, after the seconds since the start."""
        line = f"[{time.monotonic() - self._clock:7.1f} s] {line}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._metrics.close()
        self._vectors.close()
        self._events.close()
        if self._bar is not None:
            self._bar.close()


def read_metrics(folder: pathlib.Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv`; none if there is no such file. A last line that was cut short is left out."""
    return _read_rows(folder / "metrics.csv", _FIELDS)


class _Rows:
    """A CSV that grows; opened, it keeps the rows up to step `start`."""

    def __init__(self, path: pathlib.Path, fields: tuple[str, ...], start: int):
        kept = [row for row in _read_rows(path, fields) if int(row["step"]) <= start]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerow(fields)
        self.write(tuple(row[field] for field in fields) for row in kept)

    def write(self, rows: Iterable[tuple]) -> None:
        self._csv.writerows(rows)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _read_rows(path: pathlib.Path, fields: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if all(row.get(field) for field in fields)]


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
