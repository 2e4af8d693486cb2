"""Tables of rows and columns with a header: CSV (commas, semicolons or TABs between cells) and Parquet.

A row is a step if answers are per step, for forecasts, and if `columns.sequence` names a column: rows with equal values
in it are one sequence. Otherwise a row is a sequence, its columns are the steps of one feature, and empty cells at its
end make it shorter.

Roles that `data.columns` leaves empty have defaults: the answer is the column named answer, class, label, target or y;
the inputs are all columns without another role. Of these, columns of text (such as dates), without a name (such as the
index that pandas writes) or without any value are ignored, with a remark; a step without any value is missing. Empty
cells, NaN, NA and ? are missing values.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnnlab.config import split_names
from rnnlab.data.sequences.cells import NumberColumns, number_of, seconds_of
from rnnlab.data.sequences.examples import (
    Examples,
    Request,
    Source,
    check_missing,
    counted,
    is_missing,
    listed,
)
from rnnlab.data.sequences.table_file import Header, Rows, open_table
from rnnlab.errors import UserError

_ANSWERS = {"answer", "class", "label", "target", "y"}
_BLOCK = 4096  # rows parsed at a time


class _Roles(NamedTuple):
    """Names of columns by their role; `chosen` if the config names the inputs."""

    sequence: str
    time: str
    answers: list[str]
    inputs: list[str]
    chosen: bool


class _Table(NamedTuple):
    """The contents of a table.

    Attributes:
      numbers: float64 `[rows, number columns]`, NaN where missing.
      blank: bool of the same shape, where a cell is empty.
      names: of the columns of `numbers`.
      texts: the cells of the other columns with a role, by their names.
      lines: the number of each row in its file.
    """

    numbers: np.ndarray
    blank: np.ndarray
    names: list[str]
    texts: dict[str, list[str]]
    lines: list[int]


def read(request: Request, source: Source) -> Examples:
    """Reads one file.

    Raises:
      UserError: no header (which may have a number or a date only if the config names it or it counts from 0); a column
        that is missing or has two roles; a row with another number of cells; text in a column of numbers; a missing
        value, if they are refused; no answer, or an answer that changes within a sequence.
    """
    header, rows = open_table(request, source)
    roles = _roles(request, header)
    by_step = bool(roles.sequence) or request.data.answer not in ("class", "numbers")
    table, remarks = _read_table(request, header, roles, rows, by_step=by_step)
    if not by_step and roles.time:
        raise UserError(
            "config.data.columns.time: needs rows that are steps; name the column of the sequences by "
            "config.data.columns.sequence"
        )
    examples = (_read_steps if by_step else _read_sequences)(request, header, roles, table)
    return examples._replace(remarks=remarks + examples.remarks)


def _roles(request: Request, header: Header) -> _Roles:
    columns = request.data.columns
    inputs = split_names(columns.inputs)
    answers = _answer_columns(request, header)
    roles = [("sequence", columns.sequence), ("time", columns.time), *(("answer", name) for name in answers)]
    roles += [("inputs", name) for name in inputs]
    taken: dict[str, str] = {}
    for role, name in roles:
        if not name:
            continue
        if name not in header.names and (role != "answer" or request.answered):
            raise UserError(
                f"{header.place(1)}: config.data.columns.{role} names {name!r}, which is not among the columns "
                f"{listed(header.names)}"
            )
        if name in taken:
            raise UserError(f"config.data.columns.{role}: {name!r} has the role {taken[name]!r} already")
        taken[name] = role
    rest = [name for name in header.names if name and name not in taken]
    return _Roles(columns.sequence, columns.time, answers if request.answered else [], inputs or rest, bool(inputs))


def _answer_columns(request: Request, header: Header) -> list[str]:
    if request.data.answer == "forecast":
        return []
    named = split_names(request.data.columns.answer)
    answers = named or [name for name in header.names if name.lower() in _ANSWERS]
    one_only = request.data.answer in ("class", "class_per_step") or not named
    if request.answered and (not answers or (one_only and len(answers) > 1)):
        raise UserError(
            f"{header.place(1)}: config.data.columns.answer={request.data.columns.answer!r} is not allowed with "
            f"config.data.answer={request.data.answer!r}; it must name {'one' if one_only else 'some'} of the columns "
            f"{listed(header.names)}"
        )
    return answers


def _read_table(
    request: Request, header: Header, roles: _Roles, rows: Rows, *, by_step: bool
) -> tuple[_Table, tuple[str, ...]]:
    """Reads all rows; also returns remarks on ignored columns.

    If a row is a sequence (not `by_step`), a column without any value is a step with a missing value.
    """
    numeric_answer = request.data.answer in ("numbers", "labels_per_step")
    columns = roles.inputs + (roles.answers if numeric_answer else [])
    texts: dict[str, list[str]] = {
        name: [] for name in (roles.sequence, roles.time, *([] if numeric_answer else roles.answers)) if name
    }
    parsed, lines = _read_rows(header, columns, texts, rows)
    kept = [
        j
        for j in range(len(columns))
        if parsed.counts[j] or j >= len(roles.inputs) or roles.chosen or (not by_step and j not in parsed.bad)
    ]
    for j in kept:
        if j in parsed.bad:
            row, text = parsed.bad[j]
            raise UserError(f"{header.place(lines[row])}, column {columns[j]!r}: {text!r} is not a (finite) number")
    if not any(j < len(roles.inputs) for j in kept):
        raise UserError(f"{header.place(1)}: none of the columns {listed(header.names)} has numbers for the inputs")
    left = [j for j in range(len(columns)) if j not in kept]
    shown = {j: f" ({header.unit} {lines[row]}: {text!r})" for j, (row, text) in parsed.bad.items()}
    remarks = [f"column {columns[j]!r} has no numbers{shown.get(j, '')} and is ignored" for j in left]
    if not roles.chosen and "" in header.names:
        remarks.append("columns without a name are ignored")
    numbers, blank = parsed.finish()
    table = _Table(numbers[:, kept], blank[:, kept], [columns[j] for j in kept], texts, lines)
    return table, tuple(f"{header.file}: {remark}" for remark in remarks)


def _read_rows(
    header: Header, columns: list[str], texts: dict[str, list[str]], rows: Rows
) -> tuple[NumberColumns, list[int]]:
    """Parses the columns of numbers, appends the cells of others to `texts`, and lists the number of each row."""
    number_at = [header.names.index(name) for name in columns]
    text_at = {name: header.names.index(name) for name in texts}
    lines: list[int] = []
    parsed = NumberColumns(len(columns))
    block: list[list[str]] = []
    for number, cells in rows:
        if len(cells) != len(header.names):
            raise UserError(
                f"{header.place(number)}: {counted(len(cells), 'cell')}; the header has {len(header.names)}"
            )
        lines.append(number)
        for name, at in text_at.items():
            texts[name].append(cells[at].strip())
        block.append([cells[at] for at in number_at])
        if len(block) == _BLOCK:
            parsed.add(block)
            block = []
    if not lines:
        raise UserError(f"{header.file}: a header and no rows")
    parsed.add(block)
    return parsed, lines


def _read_sequences(request: Request, header: Header, roles: _Roles, table: _Table) -> Examples:
    """Takes each row as a sequence."""
    steps = sum(name in roles.inputs for name in table.names)
    filled = ~table.blank[:, :steps]
    lengths = np.where(filled.any(1), steps - np.argmax(filled[:, ::-1], axis=1), 0)
    if not lengths.all():
        raise UserError(f"{header.place(table.lines[int(np.argmin(lengths))])}: a sequence without steps")
    inputs = [row[:length, None] for row, length in zip(table.numbers, lengths, strict=True)]

    def places(i: int) -> str:
        return header.place(table.lines[i])

    return Examples(
        inputs,
        _answers(roles, table, [slice(i, i + 1) for i in range(len(inputs))], request, places),
        None,
        places,
        remarks=check_missing(
            request, header.file, inputs, lambda i, step, _: f"{places(i)}, column {table.names[step]!r}"
        ),
        steps=tuple(table.names[:steps]),
    )


def _read_steps(request: Request, header: Header, roles: _Roles, table: _Table) -> Examples:
    """Takes each row as a step."""
    rows = range(len(table.lines))
    if roles.sequence:
        ids = table.texts[roles.sequence]
        for line, name in zip(table.lines, ids, strict=True):
            if is_missing(name):
                raise UserError(
                    f"{header.place(line)}, column {roles.sequence!r}: {_missing(name)}; it must name a sequence"
                )
        group = {name: i for i, name in enumerate(dict.fromkeys(ids))}
        order = np.argsort([group[name] for name in ids], kind="stable")
        counts = np.bincount([group[name] for name in ids])
        table = _reordered(table, order.tolist())
    else:
        counts = np.array([len(rows)])
    stops = np.cumsum(counts)
    spans = [slice(int(stop - count), int(stop)) for stop, count in zip(stops, counts, strict=True)]

    def places(i: int, step: int = 0) -> str:
        return header.place(table.lines[spans[i].start + step])

    features = [j for j, name in enumerate(table.names) if name in roles.inputs]
    numbers = np.ascontiguousarray(table.numbers[:, features])
    inputs = [numbers[span] for span in spans]
    names = tuple(table.names[j] for j in features)
    return Examples(
        inputs,
        _answers(roles, table, spans, request, lambda row: header.place(table.lines[row])),
        _dt(roles, table, spans, header) if roles.time else None,
        places,
        names,
        check_missing(
            request, header.file, inputs, lambda i, step, feature: f"{places(i, step)}, column {names[feature]!r}"
        ),
    )


def _reordered(table: _Table, order: list[int]) -> _Table:
    return table._replace(
        numbers=table.numbers[order],
        texts={name: [cells[i] for i in order] for name, cells in table.texts.items()},
        lines=[table.lines[i] for i in order],
    )


def _answers(
    roles: _Roles, table: _Table, spans: list[slice], request: Request, row_place: Callable[[int], str]
) -> list | None:
    """Takes the answer of each span of rows; if it is one per sequence, its rows must agree."""
    if not roles.answers:
        return None
    if request.data.answer in ("class", "class_per_step"):
        (name,) = roles.answers
        cells = table.texts[name]
        for row, cell in enumerate(cells):
            if is_missing(cell):
                raise UserError(f"{row_place(row)}, column {name!r}: {_missing(cell)}; every row needs an answer")
        steps: list = [tuple(cells[span]) for span in spans]
    else:
        values = table.numbers[:, [table.names.index(name) for name in roles.answers]]
        right = ~np.isnan(values) if request.data.answer == "numbers" else (values == 0) | (values == 1)
        if not right.all():
            row, column = np.argwhere(~right)[0]
            raise UserError(
                f"{row_place(int(row))}, column {roles.answers[column]!r}: the answer "
                + ("is missing" if np.isnan(values[row, column]) else f"is {values[row, column]:g}; it must be 0 or 1")
            )
        steps = [values[span] for span in spans]
    if request.data.answer == "labels_per_step":
        return [own == 1 for own in steps]
    if request.data.answer == "class_per_step":
        return steps
    for span, own in zip(spans, steps, strict=True):
        for step, answer in enumerate(own):
            if np.any(answer != own[0]):
                raise UserError(
                    f"{row_place(span.start + step)}: the answer {_plain(answer)} is not that of the sequence's first "
                    f"row, {_plain(own[0])}"
                )
    return [own[0] for own in steps]


def _missing(cell: str) -> str:
    return f"{cell!r} is a missing value" if cell else "empty"


def _plain(answer) -> str:
    return repr(answer) if isinstance(answer, str) else str(answer.tolist())


def _dt(roles: _Roles, table: _Table, spans: list[slice], header: Header) -> list[np.ndarray]:
    """Returns the time since the row before; for dates in seconds."""
    cells = table.texts[roles.time]
    parse = number_of if not math.isnan(number_of(cells[0])) else seconds_of
    times = np.array([parse(cell) for cell in cells])
    if np.isnan(times).any():
        row = int(np.argmax(np.isnan(times)))
        raise UserError(
            f"{header.place(table.lines[row])}, column {roles.time!r}: {cells[row]!r} is not a time; a column has "
            "numbers, or dates such as 2016-07-01 00:00:00"
        )
    dt = [np.diff(times[span], prepend=times[span.start]) for span in spans]
    for span, own in zip(spans, dt, strict=True):
        if (own < 0).any():
            row = span.start + int(np.argmax(own < 0))
            raise UserError(
                f"{header.place(table.lines[row])}, column {roles.time!r}: {cells[row]!r} is before the row before it"
            )
    return [own.astype(np.float32) for own in dt]
