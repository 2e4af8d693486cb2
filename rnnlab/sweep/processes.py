"""The processes of a sweep: several runs at once, stopped together by a signal.

Imports only `files` and `printing`.
"""

import pathlib
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rnnlab.files import in_use
from rnnlab.printing import show

_PAUSE = 0.05  # seconds between two looks at the processes


class Job(NamedTuple):
    """A run to be done.

    Attributes:
      name: for the terminal.
      folder: its work directory; its output is appended to `log.txt` there.
      command: trains it, or resumes it.
      finished: returns whether nothing is left to do.
    """

    name: str
    folder: pathlib.Path
    command: Sequence[str]
    finished: Callable[[], bool]

    def start(self) -> subprocess.Popen:
        """Starts its process, in a session of its own: a terminal's Ctrl-C reaches only the sweep."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as log:
            return subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def last_line(folder: pathlib.Path) -> str:
    """Returns the last line of a run's output."""
    path = folder / "log.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "no output"


def run_jobs(jobs: Sequence[Job], at_once: int) -> int:
    """Does the unfinished jobs in order, `at_once` at a time. A failed one is logged, and stops no other.

    A run that still trains for a sweep that was killed is waited for instead of started. SIGINT and SIGTERM are passed
    on to every process, and no further one starts.

    Returns:
      the signal that stopped them, else 0.
    """
    received: list[int] = []
    before = {s: signal.signal(s, lambda signum, _: received.append(signum)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        _run(jobs, at_once, received)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    return received[0] if received else 0


def _run(jobs: Sequence[Job], at_once: int, received: Sequence[int]) -> None:
    waiting = deque((number, job) for number, job in enumerate(jobs, 1) if not job.finished())
    alive: list[_Alive] = []
    passed_on = 0
    while alive or (waiting and not received):
        while waiting and len(alive) < at_once and not received:
            number, job = waiting.popleft()
            show(f"run {number} of {len(jobs)}: {job.name}", file=sys.stderr)
            alive.append(_Alive(job))
        for signum in received[passed_on:]:
            passed_on += 1
            for each in alive:
                each.pass_on(signum)
        alive = [each for each in alive if not each.ended(stopping=bool(received))]
        time.sleep(_PAUSE)


class _Alive:
    """A job that is being done, by a process of this sweep or of an earlier one that was killed."""

    def __init__(self, job: Job):
        self._job, self._process = job, None if in_use(job.folder) else job.start()

    def pass_on(self, signum: int) -> None:
        if self._process is not None:
            self._process.send_signal(signum)

    def ended(self, *, stopping: bool) -> bool:
        """Returns whether the job is done with; logs its failure."""
        if self._process is not None and self._process.poll() is None:
            return False
        if stopping:
            return True
        if in_use(self._job.folder):
            return False
        if self._process is None and not self._job.finished():  # the earlier process was stopped
            self._process = self._job.start()
            return False
        if not self._job.finished():
            show(f"failed: {self._job.name}: {last_line(self._job.folder)}", file=sys.stderr)
        return True
