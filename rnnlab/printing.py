"""Printing: text that any terminal can show, JSON and CSV that any program can read. Imports nothing from rnnlab."""

import csv
import io
import json
import math
import sys
from collections.abc import Iterable
from typing import Any, TextIO


def show(text: object, *, file: TextIO | None = None) -> None:
    """Prints a line to `file`, or to stdout; characters that its encoding lacks are escaped (`\\xe9`)."""
    file = file or sys.stdout
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(str(text).encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Returns JSON, on one line without `indent`; NaN and infinity become null."""
    return json.dumps(_finite(value), allow_nan=False, indent=indent)


def to_csv(rows: Iterable[Iterable[Any]], *, end: str = "\n") -> str:
    """Returns CSV, a line for each row, ended by `end`; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
