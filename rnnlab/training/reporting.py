"""What a run tells: lines or a bar on the terminal, a CSV, TensorBoard files."""

import csv
import pathlib
import sys
import time
from collections.abc import Mapping

import tensorboardX
import tqdm

_FIELDS = ("step", "split", "name", "value")


class Reporter:
    """Writes `metrics.csv` (a row for each value: step, split, name, value) and TensorBoard events into a folder.

    On a terminal a bar shows the last training line; otherwise each is printed.

    Args:
      folder: the work directory.
      steps: where the bar ends; start: where it begins. Rows after `start`, left by a run that was killed, are dropped.
    """

    def __init__(self, folder: pathlib.Path, *, steps: int, start: int):
        path = folder / "metrics.csv"
        kept = [row for row in read_metrics(folder) if int(row["step"]) <= start]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, _FIELDS)
        self._csv.writeheader()
        self._csv.writerows(kept)
        self._events = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=start)
        self._bar = tqdm.tqdm(total=steps, initial=start, unit="step") if sys.stderr.isatty() else None
        self._clock = time.monotonic()

    def write(self, step: int, split: str, values: Mapping[str, float | str]) -> None:
        """Records `values` of a split ("train", "validation", "test") after `step` steps."""
        for name, value in values.items():
            if isinstance(value, str):
                continue
            self._csv.writerow(dict(zip(_FIELDS, (step, split, name, repr(float(value))), strict=True)))
            self._events.add_scalar(f"{split}/{name}", value, step)
        self._file.flush()
        line = "  ".join(f"{name} {_short(value)}" for name, value in values.items())
        if self._bar is not None and split == "train":
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(line)
        else:
            self.say(f"step {step:>6}  {split:<10}  {line}")

    def say(self, line: str) -> None:
        """A line of its own, after the seconds since the start."""
        line = f"[{time.monotonic() - self._clock:7.1f} s] {line}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._file.close()
        self._events.close()
        if self._bar is not None:
            self._bar.close()


def read_metrics(folder: pathlib.Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv`; none if there is no such file. A last line that was cut short is left out."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if all(row.get(field) for field in _FIELDS)]


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
