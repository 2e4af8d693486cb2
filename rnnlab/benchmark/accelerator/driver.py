"""The run: each part has its own time limit and processes, so neither a crash nor a hang costs the rest."""

import collections
import concurrent.futures
import datetime
import itertools
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from rnnlab.benchmark.accelerator import records
from rnnlab.benchmark.accelerator.parts import PARTS, Part
from rnnlab.benchmark.accelerator.table import tables
from rnnlab.files import write_text
from rnnlab.printing import show

_LOG = logging.getLogger("rnnlab")
_ROOT = pathlib.Path(__file__).parents[3]
_WORKER = (sys.executable, "-m", "rnnlab.benchmark.accelerator.worker")


def run(out: pathlib.Path, *, minutes: float, only: Sequence[str], tiny: bool) -> bool:
    """Measures parts into `out/accelerator.jsonl`, prints their tables and writes them to `out/accelerator.md`.

    A part gets a share of the remaining time, by its `Part.seconds` among the remaining parts. Cases in the file that
    were measured on this machine are not measured again, except for the facts, which are measured in each run.

    Args:
      out: a folder, created if missing.
      minutes: wall time of all parts together.
      only: names of parts; the facts are always measured.
      tiny: few cases, tiny sizes.

    Returns:
      Whether a case of this run failed. Cases that were not reached in time did not fail.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, started = out / "accelerator.jsonl", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    chosen = [name for name in PARTS if name == "facts" or name in only]
    deadline = time.monotonic() + 60 * minutes
    for i, name in enumerate(chosen):
        share = PARTS[name].seconds / sum(PARTS[later].seconds for later in chosen[i:])
        seconds = share * (deadline - time.monotonic())
        _LOG.info("%s: %d cases within %.0f s", name, len(PARTS[name].cases(tiny)), seconds)
        with open(out / "accelerator.log", "a") as log:
            _Run(name, path, started, tiny, log).measure(max(0.0, seconds))
    rows = records.of_one_machine(records.read(path), started)
    text = tables(rows)
    write_text(out / "accelerator.md", text)
    show(text)
    return any(records.is_failure(row) for row in rows if row["run"] == started)


class _Job(NamedTuple):
    """Cases, by their numbers, that one process measures."""

    numbers: list[int]
    environment: dict[str, str]


class _Run:
    """One part: its cases, their processes, and the rows of those that no process could write."""

    def __init__(self, name: str, path: pathlib.Path, started: str, tiny: bool, log: IO[str]):
        self._name, self._path, self._started, self._tiny, self._log = name, path, started, tiny, log
        self._part: Part = PARTS[name]
        self._cases = self._part.cases(tiny)
        self._processes: set[subprocess.Popen] = set()
        self._given_up = threading.Event()

    def measure(self, seconds: float) -> None:
        """Measures for at most `seconds`; then every case has a row."""
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        lanes = list(self._lanes())
        with concurrent.futures.ThreadPoolExecutor(max(1, len(lanes))) as threads:
            try:
                list(threads.map(self._go_through, lanes))
            except BaseException:  # Ctrl-C, a full disk: otherwise the processes would run to the end of the part
                self._give_up()
                raise
        for number in self._unsettled(range(len(self._cases))):
            self._append(number, f"not reached within {seconds:.0f} s")

    def _give_up(self) -> None:
        self._given_up.set()
        for process in list(self._processes):
            process.kill()

    def _unsettled(self, numbers: Sequence[int]) -> list[int]:
        """Returns the cases without a row in this run, and without one from before that settles them."""
        written = records.of_one_machine(records.read(self._path), self._started)
        rows = records.latest((row for row in written if row["run"] == self._started), self._name)
        if self._name != "facts":
            before = records.latest(written, self._name)
            rows = {name: row for name, row in before.items() if records.is_settled(row)} | rows
        return [number for number in numbers if records.key(self._cases[number]) not in rows]

    def _lanes(self) -> Iterator[collections.deque[_Job]]:
        """Jobs that follow one another; lanes run at the same time, as many as there are cores."""
        field, lanes = self._part.side_by_side, collections.defaultdict[int, list[int]](list)
        values = list(dict.fromkeys(case.get(field) for case in self._cases))
        for number in self._unsettled(range(len(self._cases))):
            lanes[values.index(self._cases[number].get(field)) % (os.cpu_count() or 1)].append(number)
        for numbers in lanes.values():
            each = itertools.groupby(numbers, lambda number: self._part.environment(self._cases[number]))
            yield collections.deque(_Job(list(own), environment) for environment, own in each)

    def _go_through(self, jobs: collections.deque[_Job]) -> None:
        """Runs one process after another; others get the rest of a dead one, and halves of the suspected cases."""
        while jobs and (left := self._deadline - time.monotonic()) > 0:
            job = jobs.popleft()
            status, at = self._work(job, left)
            if self._given_up.is_set():
                return
            rest = self._unsettled(job.numbers)
            if status is None:
                for number in self._unsettled(at):
                    self._append(number, f"stopped after {self._seconds:.0f} s, the time limit of the part")
                return
            if not rest:
                continue
            suspects = self._unsettled(at) or rest[:1]
            if status and len(suspects) == 1:
                self._append(suspects[0], f"died: {status}")
            half = len(suspects) // 2
            apart = [suspects[:half], suspects[half:]] if status and half else []
            others = [number for number in rest if not status or number not in suspects]
            jobs.extendleft(_Job(own, job.environment) for own in reversed([*apart, others]) if own)

    def _work(self, job: _Job, seconds: float) -> tuple[str | None, list[int]]:
        """Returns how a process ended ("": normally, None: it was stopped), and its current cases."""
        pipe, flags = subprocess.PIPE, " ".join((os.environ.get("XLA_FLAGS", ""), job.environment.get("XLA_FLAGS", "")))
        environment = {**os.environ, **job.environment, "XLA_FLAGS": flags.strip()}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # compiling is measured
        # in its own process group: Ctrl-C must reach only the driver, or a case would be recorded as dead
        process = subprocess.Popen(
            _WORKER, cwd=_ROOT, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=self._log, process_group=0
        )
        self._processes.add(process)
        if self._given_up.is_set():
            process.kill()
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        at: list[int] = []
        try:
            own = {"part": self._name, "path": str(self._path.absolute()), "run": self._started, "tiny": self._tiny}
            print(json.dumps(own | {"cases": job.numbers}), file=process.stdin, flush=True)
            for line in process.stdout:
                at = json.loads(line)
        except BrokenPipeError:
            pass
        finally:
            status = process.wait()
            timer.cancel()
            self._processes.discard(process)
        if stopped.is_set():
            return None, at
        if status < 0:
            return f"killed by {signal.Signals(-status).name}", at
        return (f"ended with status {status}; accelerator.log has its last output" if status else ""), at

    def _append(self, number: int, status: str) -> None:
        row = {"part": self._name, "run": self._started, "case": self._cases[number], "status": status}
        records.append(self._path, row)
