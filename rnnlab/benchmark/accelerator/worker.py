"""One process of the measurement: measures some cases of a part and appends their rows.

The first line of stdin is the job, a JSON object; when stdin ends, so does the process, however its parent ended.
Before each group of cases it prints their numbers to stdout, so that the driver knows them if the process dies.
"""

import json
import os
import pathlib
import threading
import time

import jax
import jax.numpy as jnp

from rnnlab.benchmark.accelerator import records
from rnnlab.benchmark.accelerator.parts import PARTS
from rnnlab.benchmark.accelerator.records import OK, Case, Row
from rnnlab.benchmark.implementations import status_of


def main() -> None:
    """Measures until all cases are done, or the device is broken and another process must continue."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    job = json.loads(_read_line())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    part, path = PARTS[job["part"]], pathlib.Path(job["path"])
    cases = part.cases(job["tiny"])
    facts = records.latest(records.of_one_machine(records.read(path), job["run"]), "facts")
    for numbers in _groups(job["cases"], cases, part.together):
        print(json.dumps(numbers), file=answers, flush=True)
        for case, row in _measured(part, [cases[number] for number in numbers], facts):
            records.append(path, {"part": job["part"], "run": job["run"], "case": case, "status": OK, **row})
            if row.get("status", OK).startswith("failed") and not _device_works():
                return


def _groups(numbers: list[int], cases: list[Case], together: int) -> list[list[int]]:
    """Groups `together` cases, plus those that belong to the last one: implementations of a layer stay together."""
    found: list[list[int]] = []
    layer = None
    for number in numbers:
        before, layer = layer, {**cases[number], "implementation": ""}
        if found and (len(found[-1]) < together or layer == before):
            found[-1].append(number)
        else:
            found.append([number])
    return found


def _measured(part, given: list[Case], facts: dict[str, Row]):
    """Yields the figures of the part, with the wall time since the row before; an exception of a case is its status."""
    before = time.perf_counter()
    try:
        for case, row in part.measure(given, facts):
            now = time.perf_counter()
            yield case, {**row, "spent_s": round(now - before, 3)}
            before = now
    except Exception as error:
        if len(given) > 1:
            raise
        yield given[0], {"status": status_of(error)}


def _device_works() -> bool:
    """Returns whether the device still computes: after an illegal access, no program runs in the same process."""
    try:
        return float(jnp.ones(8).sum()) == 8
    except jax.errors.JaxRuntimeError:
        return False


def _read_line() -> bytes:
    """Reads from the file itself: with `sys.stdin`, held by a waiting thread, the process would fail at exit."""
    line = b""
    while not line.endswith(b"\n") and (read := os.read(0, 2**16)):
        line += read
    return line


def _end_with_parent() -> None:
    while os.read(0, 2**16):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
