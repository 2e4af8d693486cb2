"""The output of a run: lines or a progress bar on the terminal, a CSV, TensorBoard files."""

import pathlib
import sys
import time
from collections.abc import Mapping

import numpy as np
import tqdm
from tensorboardX import summary

from rnnlab.printing import show
from rnnlab.training.records import Events, Rows, read_rows
from rnnlab.training.tracking import Tracking

_FIELDS = ("step", "split", "name", "value")
_BINS = 30
_VECTOR_FIELDS = ("step", "split", "name", "index", "value")


class Reporter:
    """Writes `metrics.csv` (a row for each value: step, split, name, value), `vectors.csv` (the same for vectors, with
    an index) and TensorBoard events to a folder.

    On a terminal a progress bar shows the last training line; otherwise each line is printed.

    Args:
      folder: the work directory, created if missing.
      quiet: prints nothing on the terminal.
      steps: the end of the bar; start: its beginning. Rows after `start`, left by a killed run, are dropped.
      tracking: also gets each value.
    """

    def __init__(
        self, folder: pathlib.Path, *, steps: int, start: int, quiet: bool = False, tracking: Tracking | None = None
    ):
        self._tracking = tracking
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = Rows(folder / "metrics.csv", _FIELDS, start)
        self._vectors = Rows(folder / "vectors.csv", _VECTOR_FIELDS, start)
        self._events = Events(folder / "tensorboard", start)
        self._quiet, bar = quiet, sys.stderr.isatty() and not quiet
        self._bar = tqdm.tqdm(total=steps, initial=start, unit="step") if bar else None
        self._clock = time.monotonic()

    def write(self, step: int, split: str, values: Mapping[str, float | str]) -> None:
        """Records `values` of a split ("train", "validation", "test") after `step` steps."""
        numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
        self._metrics.write((step, split, name, value) for name, value in numbers.items())
        for name, value in numbers.items():
            self._events.add(summary.scalar(f"{split}/{name}", value), step)
        if self._tracking is not None:
            self._tracking.log(step, {f"{split}/{name}": value for name, value in numbers.items()})
        line = "  ".join(f"{name} {_short(value)}" for name, value in values.items())
        if self._bar is not None and split == "train":
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(line)
        else:
            self.say(f"step {step:>6}  {split:<10}  {line}")

    def write_vector(self, step: int, split: str, name: str, values: np.ndarray) -> None:
        """Records a vector after `step` steps; TensorBoard shows the distribution of its finite values."""
        self._write_vector(step, split, name, values)
        if (finite := values[np.isfinite(values)]).size:
            self._events.add(summary.histogram(f"{split}/{name}", finite, _BINS), step)

    def write_histogram(self, step: int, split: str, name: str, counts: np.ndarray, edges: np.ndarray) -> None:
        """Records a histogram with bins `edges` after `step` steps."""
        self._write_vector(step, split, name, counts)
        middles = (edges[:-1] + edges[1:]) / 2
        drawn = summary.histogram_raw(
            f"{split}/{name}",
            min=edges[0],
            max=edges[-1],
            num=int(counts.sum()),
            sum=float(counts @ middles),
            sum_squares=float(counts @ middles**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
        )
        self._events.add(drawn, step)

    def _write_vector(self, step: int, split: str, name: str, values: np.ndarray) -> None:
        self._vectors.write((step, split, name, index, value) for index, value in enumerate(values.tolist()))

    def say(self, line: str) -> None:
        """Prints a line, with the seconds since the start."""
        line = f"[{time.monotonic() - self._clock:7.1f} s] {line}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif not self._quiet:
            show(line, file=sys.stderr)

    def close(self) -> None:
        """Writes all buffered data."""
        self._metrics.close()
        self._vectors.close()
        self._events.close()
        if self._bar is not None:
            self._bar.close()


def read_metrics(folder: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of `metrics.csv`; none if the file is missing. An incomplete last line is skipped."""
    return read_rows(folder / "metrics.csv", _FIELDS)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
