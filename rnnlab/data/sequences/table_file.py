"""Table files: CSV (commas, semicolons or TABs between cells) and Parquet, as a header and rows of cells."""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from rnnlab.config import split_names
from rnnlab.data.sequences.cells import number_of, seconds_of
from rnnlab.data.sequences.examples import Request, Source, one_line
from rnnlab.errors import UserError
from rnnlab.extras import needs

_PARQUET = b"PAR1"  # the first bytes of such a file
_BLOCK = 4096  # rows read at a time
Rows = Iterator[tuple[int, list[str]]]


class Header(NamedTuple):
    """Names of the columns, and the word for a row in messages: line or row."""

    file: str
    names: list[str]
    unit: str

    def place(self, number: int) -> str:
        """Names a row for a message."""
        return f"{self.file}, {self.unit} {number}"


def open_table(request: Request, source: Source) -> tuple[Header, Rows]:
    """Reads the header of a table; returns it with an iterator over the rows: the number of each, and its cells.

    Raises:
      UserError: not such a file; two columns of one name; a header with a number or a date that the config does not
        name. Errors in rows are raised during iteration.
    """
    if source.content.startswith(_PARQUET):
        names, rows = _open_parquet(source)
        header = Header(source.name, names, "row")
    else:
        rows = _csv_rows(source)
        number, names = next(rows)
        header = Header(source.name, [name.strip() for name in names], "line")
        _check_names(request, header, number)
    named = [name for name in header.names if name]
    if again := next((name for i, name in enumerate(named) if name in named[:i]), None):
        raise UserError(f"{header.place(1)}: two columns are named {again!r}")
    return header, rows


def _csv_rows(source: Source) -> Rows:
    """Yields the cells of each line that is not blank, with the number of the line."""
    text = source.text()
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",\t;", key=first.count), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{source.name}, line {reader.line_num}: not CSV ({error})") from None


def _check_names(request: Request, header: Header, line: int) -> None:
    """Refuses a first line that is a row: it has a number or a date that is not a column in the config, and its numbers
    are not the 0, 1 ... that pandas writes."""
    numbers = {name: number for name in header.names if not math.isnan(number := number_of(name))}
    dates = [name for name in header.names if name not in numbers and not math.isnan(seconds_of(name))]
    counts = list(numbers.values()) == list(range(len(numbers)))
    known = {name for names in request.data.columns.values() for name in split_names(names)}
    for name in dates if counts else [*dates, *numbers]:
        if name not in known:
            raise UserError(
                f"{header.place(line)}: {name!r} is a {'number' if name in numbers else 'date'}; the first line must "
                "have the names of the columns (a name that is a number or a date must be in config.data.columns)"
            )


def _open_parquet(source: Source) -> tuple[list[str], Rows]:
    with needs("sequence", f"{source.name}: Parquet"):
        import pyarrow
        import pyarrow.parquet
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(source.content))
        table.validate(full=True)  # its texts are UTF-8
        names = table.column_names
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{source.name}: cannot be read: {one_line(error)}") from None

    def rows() -> Rows:
        number = 0
        for batch in table.to_batches(max_chunksize=_BLOCK):
            place = f"{source.name}, rows {number + 1:,} to {number + len(batch):,}"
            columns = [_values(column, place, name) for name, column in zip(names, batch.columns, strict=True)]
            for cells in zip(*columns, strict=True):
                number += 1
                yield number, [_as_text(cell) for cell in cells]

    return names, rows()


def _values(column: Any, place: str, name: str) -> list:
    """Returns the cells of a column; values without a Python type, such as nanoseconds, as text."""
    try:
        return column.to_pylist()
    except Exception:  # depends on the column's type
        try:
            return column.cast("string").to_pylist()
        except Exception as error:
            raise UserError(f"{place}, column {name!r}: cannot be read: {one_line(error)}") from None


def _as_text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(int(cell))
    return "" if cell is None else str(cell)
