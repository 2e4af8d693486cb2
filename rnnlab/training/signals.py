"""Stopping a run from outside, between two steps."""

import signal
import sys


class Interrupted(Exception):
    """The run was asked to stop and has saved itself, unless steps were being skipped; `signal` is what asked."""

    def __init__(self, signum: int, *, saved: bool = True):
        where = "here" if saved else "the last checkpoint, for the last steps did not count and nothing was saved"
        super().__init__(f"stopped by {signal.Signals(signum).name}; the same command goes on from {where}")
        self.signal = signum


class Signals:
    """Within it, SIGINT and SIGTERM are noted in `received` instead of ending the process; a second one ends it."""

    def __init__(self):
        self.received = 0

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum, _frame):
        if self.received:
            raise KeyboardInterrupt
        self.received = signum
        print("finishing the step and saving ...", file=sys.stderr, flush=True)
