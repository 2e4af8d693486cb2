"""The output of a run: lines on the terminal, CSV files, TensorBoard files."""

import pathlib
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from tensorboardX import summary

from rnnlab.training.records import Events, Rows, read_rows
from rnnlab.training.terminal import Terminal
from rnnlab.training.tracking import Tracking
from rnnlab.training.window import Skipped

_METRICS = ("metrics.csv", ("step", "split", "name", "value"))
_VECTORS = ("vectors.csv", ("step", "split", "name", "index", "value"))
_COMPILED = ("compiled.csv", ("step", "shapes", "seconds"))
_SKIPPED = ("skipped.csv", ("step", "loss", "gradient_norm", "examples"))
_NUMBERS = ("value", "seconds", "loss", "gradient_norm")  # fields whose values must be numbers
_BINS = 30


class Reporter:
    """Writes the records of a run to a folder, and prints lines: `metrics.csv` (a row for each value: step, split,
    name, value), `vectors.csv` (the same for vectors, with an index), `compiled.csv` (a row for each compilation of the
    training step), `skipped.csv` (a row for each skipped step) and TensorBoard events.

    Args:
      folder: the work directory, created if missing.
      quiet: prints nothing on the terminal.
      steps: the end of the bar; start: its beginning. Rows after `start`, left by a killed run, are dropped.
      tracking: also gets each value.

    Attributes:
      terminal: prints lines.
    """

    def __init__(
        self, folder: pathlib.Path, *, steps: int, start: int, quiet: bool = False, tracking: Tracking | None = None
    ):
        self._tracking = tracking
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics, self._vectors, self._compiled, self._skipped = self._rows = [
            Rows(folder / name, fields, start) for name, fields in (_METRICS, _VECTORS, _COMPILED, _SKIPPED)
        ]
        self._events = Events(folder / "tensorboard", start)
        self.terminal = Terminal(steps=steps, start=start, quiet=quiet)

    def write(
        self, step: int, split: str, values: Mapping[str, float | str], *, shown: Collection[str] | None = None
    ) -> None:
        """Records values after some steps, and prints them on a line.

        Args:
          step: the number of steps done.
          split: train, validation, test, or flow.
          values: by name; texts are printed only.
          shown: the names of the values to print; by default all, and nothing is printed if there are none.
        """
        numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
        self._metrics.write((step, split, name, value) for name, value in numbers.items())
        for name, value in numbers.items():
            self._events.add(summary.scalar(f"{split}/{name}", value), step)
        if self._tracking is not None:
            self._tracking.log(step, {f"{split}/{name}": value for name, value in numbers.items()})
        printed = [name for name in (values if shown is None else shown) if name in values]
        if printed:
            self.say(step, split, "  ".join(f"{_label(name)} {short(values[name])}" for name in printed))

    def say(self, step: int, about: str, text: str) -> None:
        """Prints a line or more that begins with the step."""
        self.terminal.say(f"step {step:>6}  {about:<10}  {text}")

    def write_compiled(self, step: int, shapes: str, seconds: float) -> None:
        """Records that the training step was compiled for batches of these shapes, after `step` steps."""
        self._compiled.write([(step, shapes, seconds)])

    def write_skipped(self, skipped: Iterable[Skipped]) -> None:
        """Records skipped steps."""
        self._skipped.write((s.step, s.loss, s.gradient_norm, s.examples or "not known") for s in skipped)

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

    def close(self) -> None:
        """Writes all buffered data."""
        for rows in self._rows:
            rows.close()
        self._events.close()
        self.terminal.close()


def read_metrics(folder: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of `metrics.csv`; none if the file is missing. Rows that are not complete are skipped."""
    return _read(folder, _METRICS)


def read_vectors(folder: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of `vectors.csv`, as `read_metrics` does."""
    return _read(folder, _VECTORS)


def read_compiled(folder: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of `compiled.csv`, as `read_metrics` does."""
    return _read(folder, _COMPILED)


def read_skipped(folder: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of `skipped.csv`, as `read_metrics` does."""
    return _read(folder, _SKIPPED)


def _read(folder: pathlib.Path, file: tuple[str, tuple[str, ...]]) -> list[dict[str, str]]:
    name, fields = file
    numbers = [field for field in fields if field in _NUMBERS]
    return [row for row in read_rows(folder / name, fields) if all(_is_number(row[field]) for field in numbers)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label(name: str) -> str:
    return name.replace("gradient_norm", "gradient").replace("_per_second", "/s")


def short(value: float | str) -> str:
    """Writes a value in few characters."""
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
