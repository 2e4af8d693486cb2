"""Parses the cells of a table: numbers and dates."""

import datetime
import math

import numpy as np

from rnnlab.data.sequences.examples import LARGEST, is_missing


class NumberColumns:
    """Cells parsed as numbers, block by block.

    Attributes:
      counts: of the numbers in each column.
      bad: for columns with anything else, the row and the text of the first such cell.
    """

    def __init__(self, columns: int):
        self.counts = np.zeros(columns, int)
        self.bad: dict[int, tuple[int, str]] = {}
        self._numbers = [np.empty((0, columns))]
        self._blank = [np.empty((0, columns), bool)]
        self._rows = 0

    def add(self, block: list[list[str]]) -> None:
        """Appends rows."""
        if not block:
            return
        numbers, blank = _all_numbers(block), np.zeros((len(block), len(self.counts)), bool)
        if numbers is None:
            numbers = np.empty(blank.shape)
            for j in range(blank.shape[1]):
                self._add_column(j, [cells[j] for cells in block], numbers, blank)
        self.counts += (~np.isnan(numbers)).sum(0)
        self._numbers.append(numbers)
        self._blank.append(blank)
        self._rows += len(block)

    def _add_column(self, j: int, cells: list[str], numbers: np.ndarray, blank: np.ndarray) -> None:
        whole = _all_numbers(cells)
        if whole is not None:
            numbers[:, j] = whole
            return
        for row, cell in enumerate(cells):
            number = number_of(cell)
            if math.isnan(number):
                blank[row, j] = not cell.strip()
                if not is_missing(cell):
                    self.bad.setdefault(j, (self._rows + row, cell.strip()))
            numbers[row, j] = number

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns all numbers, float64 `[rows, columns]`, NaN where there is no number, and a mask of empty cells."""
        return np.concatenate(self._numbers), np.concatenate(self._blank)


def number_of(cell: str) -> float:
    """Parses the number in a cell; NaN if it is not a number, or outside the range of float32."""
    try:
        number = float(cell)
    except ValueError:
        return math.nan
    return number if abs(number) <= LARGEST and "_" not in cell else math.nan


def seconds_of(cell: str) -> float:
    """Parses a date in ISO format to seconds since 1970, in UTC if it names no zone; NaN for anything else."""
    try:
        date = datetime.datetime.fromisoformat(cell)
    except ValueError:
        return math.nan
    return date.replace(tzinfo=date.tzinfo or datetime.UTC).timestamp()


def _all_numbers(cells: list) -> np.ndarray | None:
    """Parses cells, or rows of cells, to float64, if all are numbers within the range of float32."""
    try:
        numbers = np.array(cells, np.float64)
    except ValueError:
        return None
    flat = "".join(cells) if isinstance(cells[0], str) else "".join(map("".join, cells))
    return numbers if (np.abs(numbers) <= LARGEST).all() and "_" not in flat else None  # Python takes 1_000 for 1000
