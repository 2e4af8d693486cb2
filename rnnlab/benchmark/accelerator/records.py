"""The file of a run: a JSON object on each line, appended as soon as it is known, read again to resume."""

import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from rnnlab.printing import to_json

Case = dict[str, Any]  # what is measured: words and numbers, different for each row of a part
Row = dict[str, Any]  # "part" and "run", the case, its "status" and what was found
OK = "ok"
_UNSUPPORTED = ("not supported", "not installed")


def append(path: pathlib.Path, row: Row) -> None:
    """Adds a row by one write, so that processes can share a file, and a killed one leaves whole lines."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        cut = size and os.pread(file, 1, size - 1) != b"\n"  # the disk was full
        os.write(file, ("\n" * bool(cut) + to_json(row) + "\n").encode())
    finally:
        os.close(file)


def read(path: pathlib.Path) -> list[Row]:
    """All whole rows, whatever else the file holds; none of a file that is not there."""
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
    """The rows of a run, and of those on the same device by the same versions: others have other figures."""
    found = (row for row in rows if row["case"].get("what") == "machine" and row["status"] == OK)
    machines = {row["run"]: (row["device"], row["devices"], row["versions"]) for row in found}
    return [row for row in rows if run not in machines or machines.get(row["run"]) == machines[run]]


def latest(rows: Iterable[Row], part: str) -> dict[str, Row]:
    """The last row of each case of a part, by `key`; one that was measured is not replaced by one that was not."""
    found: dict[str, Row] = {}
    for row in rows:
        if row["part"] == part and not (is_settled(found.get(key(row["case"]), {})) and not is_settled(row)):
            found[key(row["case"])] = row
    return found


def key(case: Case) -> str:
    """A text that is the same for the same case alone."""
    return json.dumps(case, sort_keys=True)


def is_settled(row: Row) -> bool:
    """Whether to measure again would tell nothing new: it was measured, or cannot be here."""
    return row.get("status", "").startswith((OK, *_UNSUPPORTED))


def is_failure(row: Row) -> bool:
    """Whether a case failed; what was not reached in time did not."""
    return row["status"].startswith(("failed", "died"))
