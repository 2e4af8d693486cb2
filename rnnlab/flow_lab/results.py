"""The rows of a run, in `results.csv`: written atomically after each unit of work, so that a stopped run resumes."""

import csv
import pathlib
from typing import NamedTuple

from rnnlab.files import write_text
from rnnlab.printing import to_csv


class Unit(NamedTuple):
    """The subject of a row; `lag` is the length of the task or of the sequence."""

    study: str
    cell: str
    intervention: str
    clipping: str
    lag: int
    seed: int


class Row(NamedTuple):
    """One figure: after `step` training steps, or at lag `step` in studies by lag."""

    unit: Unit
    step: int
    quantity: str
    value: float


_FIELDS = (*Unit._fields, *Row._fields[1:])


class Results:
    """All rows of a work directory.

    Raises:
      ValueError: a file with other contents.
    """

    def __init__(self, workdir: pathlib.Path):
        self._path = workdir / "results.csv"
        self.rows: list[Row] = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                self.rows = [_read_row(line, self._path) for line in csv.DictReader(file)]
        self.done = {row.unit for row in self.rows}

    def add(self, unit: Unit, found: list[tuple[int, str, float]]) -> None:
        """Stores the results of a unit of work: triples of step, quantity and value."""
        self.rows += [Row(unit, *figure) for figure in found]
        self.done.add(unit)
        rows = ([*row.unit, row.step, row.quantity, float(row.value)] for row in self.rows)
        write_text(self._path, to_csv([_FIELDS, *rows]))


def _read_row(line: dict[str, str], path: pathlib.Path) -> Row:
    try:
        unit = Unit(
            line["study"], line["cell"], line["intervention"], line["clipping"], int(line["lag"]), int(line["seed"])
        )
        return Row(unit, int(line["step"]), line["quantity"], float(line["value"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the results of a run ({error!r}); use another --workdir") from None
