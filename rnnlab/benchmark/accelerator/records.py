"""The file of a run: a JSON object on each line, appended as soon as it is known, read again to resume."""

import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from rnnlab.printing import to_json

Case = dict[str, Any]  # words and numbers that identify a measurement, different for each row of a part
Row = dict[str, Any]  # "part" and "run", the case, its "status" and its figures
OK = "ok"
_UNSUPPORTED = ("not supported", "not installed")


def append(path: pathlib.Path, row: Row) -> None:
    """Adds a row by one write, so that processes can share a file, and a killed one leaves complete lines."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        cut = size and os.pread(file, 1, size - 1) != b"\n"  # the disk was full
        os.write(file, ("\n" * bool(cut) + to_json(row) + "\n").encode())
    finally:
        os.close(file)


def read(path: pathlib.Path) -> list[Row]:
    """Returns all complete rows, whatever else the file contains; none if it is missing."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the disk was full
            continue
        if isinstance(row, dict) and row.keys() >= {"part", "run", "case", "status"}:
            found.append(row)
    return found


def of_one_machine(rows: Sequence[Row], run: str) -> list[Row]:
    """Returns the rows of a run, and of runs on the same device with the same versions: others are not comparable."""
    found = (row for row in rows if row["case"].get("what") == "machine" and row["status"] == OK)
    machines = {row["run"]: (row["device"], row["devices"], row["versions"]) for row in found}
    return [row for row in rows if run not in machines or machines.get(row["run"]) == machines[run]]


def latest(rows: Iterable[Row], part: str) -> dict[str, Row]:
    """Returns the last row of each case of a part, by `key`; measured rows are not replaced by others."""
    found: dict[str, Row] = {}
    for row in rows:
        if row["part"] == part and not (is_settled(found.get(key(row["case"]), {})) and not is_settled(row)):
            found[key(row["case"])] = row
    return found


def key(case: Case) -> str:
    """Returns a text that identifies a case."""
    return json.dumps(case, sort_keys=True)


def is_settled(row: Row) -> bool:
    """Returns whether measuring again is pointless: the case was measured, or cannot be measured here."""
    return row.get("status", "").startswith((OK, *_UNSUPPORTED))


def is_failure(row: Row) -> bool:
    """Returns whether a case failed; cases that were not reached in time did not."""
    return row["status"].startswith(("failed", "died"))
