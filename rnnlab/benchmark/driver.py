"""The run of a benchmark: one process for each implementation of a case; they run their repeats in turn."""

import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from ml_collections import ConfigDict

from rnnlab.benchmark.analysis import CASE, add_comparisons, figures, name_case
from rnnlab.benchmark.cases import FIELDS, Case, read_cases
from rnnlab.benchmark.implementations import read_implementations
from rnnlab.benchmark.report import write_report
from rnnlab.config import check_fields
from rnnlab.errors import UserError
from rnnlab.own_code import own_digests, resolve_own, write_digests
from rnnlab.timing import Times

_LOG = logging.getLogger("rnnlab")
_WARM_UP = 2
_ROOT = pathlib.Path(__file__).parents[2]


def read_grid(config: ConfigDict) -> tuple[list[Case], list[str]]:
    """Reads the cases and the implementations of a config.

    Raises:
      UserError: an invalid value; names the field and what is allowed.
    """
    check_fields(config, FIELDS)
    resolve_own(FIELDS, config)  # each worker has its own folder
    try:
        return read_cases(config), read_implementations(config.implementations)
    except ValueError as error:
        raise UserError(str(error)) from None


def run(config: ConfigDict, workdir: pathlib.Path) -> bool:
    """Measures every case by every implementation; writes `benchmark.json`, `benchmark.csv` and pictures to `workdir`.

    The files are rewritten after each case, so a stopped run keeps its measurements.

    Returns:
      Whether every case was measured with every installed implementation that supports it; others are logged.

    Raises:
      UserError: as `read_grid`; nothing is written then.
    """
    cases, implementations = read_grid(config)
    own = own_digests(FIELDS, config)
    workdir.mkdir(parents=True, exist_ok=True)
    write_digests(workdir, own)
    limits = {dtype: _measure_limits(dtype) for dtype in dict.fromkeys(case.dtype for case in cases)}
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(cases, 1):
        _LOG.info("%d of %d: %s", number, len(cases), name_case(_fields(case)))
        measured = _measure(case, implementations, config)
        rows += add_comparisons([_row(name, case, found, limits[case.dtype]) for name, found in measured.items()])
        write_report(workdir, config, limits, rows, last=number == len(cases))
    failed = [row for row in rows if row["status"].startswith(("failed", "died", "killed"))]
    for row in failed:
        _LOG.error("%s, %s: %s", row["implementation"], row["cell"], row["status"])
    return not failed


class _Process:
    """A worker process, and its answers."""

    def __init__(self, job: dict[str, Any]):
        command = [sys.executable, "-m", "rnnlab.benchmark.worker", json.dumps(job)]
        environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}  # compiling is measured
        pipe, devnull = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=devnull
        )
        self.found: dict[str, Any] = {"status": "ok"}
        self.seconds: list[float] = []

    @property
    def alive(self) -> bool:
        """Whether all commands so far succeeded."""
        return self.found["status"] == "ok"

    def ask(self, command: str) -> dict[str, Any]:
        """Sends a command and waits for the answer; if the process dies, its status is recorded."""
        if not self.alive:
            return {}
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        try:
            print(command, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"status": self._last_words()}
        self.found |= {key: value for key, value in answer.items() if key != "seconds"}
        if "seconds" in answer:
            self.seconds.append(float(answer["seconds"]))
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        if status >= 0:
            return f"died with status {status}"
        hint = ", possibly out of memory" if -status in (signal.SIGKILL, signal.SIGABRT) else ""
        return f"killed by {signal.Signals(-status).name}{hint}"

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def _measure_limits(dtype: str) -> dict[str, Any]:
    process = _Process({"limits": dtype})
    try:
        return process.ask("run")
    finally:
        process.close()


def _measure(case: Case, implementations: list[str], config: ConfigDict) -> dict[str, _Process]:
    """Builds one implementation after the other, then runs them in turn, round after round."""
    job = case.__dict__ | {"memory_limit_gb": config.memory_limit_gb}
    processes = {name: _Process(job | {"implementation": name}) for name in implementations}
    try:
        for command in ("start", "build", *["run"] * _WARM_UP):
            for process in processes.values():
                process.ask(command)
        for process in processes.values():
            process.seconds.clear()
        deadline = time.monotonic() + config.seconds
        for repeat in range(config.repeats):
            if repeat and time.monotonic() > deadline:
                break
            for process in processes.values():
                process.ask("run")
        for process in processes.values():
            process.ask("end")
    finally:
        for process in processes.values():
            process.close()
    return processes


def _row(name: str, case: Case, process: _Process, limits: dict[str, Any]) -> dict[str, Any]:
    row = {"implementation": name, **_fields(case), **process.found}
    if not process.alive or not process.seconds:
        return row
    return row | figures(case, Times(process.seconds), limits)


def _fields(case: Case) -> dict[str, Any]:
    """Returns the fields that identify a case, by the names of a row."""
    given = {name.removesuffix("_"): value for name, value in case.__dict__.items()}
    return {name: given[name] for name in CASE}
