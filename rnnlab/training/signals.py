"""Stopping a run from outside, between two steps."""

import signal
import sys
from typing import ClassVar


class Interrupted(Exception):
    """The run was stopped by `signal` and has saved its state, unless steps were being skipped."""

    def __init__(self, signum: int, *, saved: bool = True):
        where = "here" if saved else "the last checkpoint, as the last steps were skipped and nothing was saved"
        super().__init__(f"stopped by {signal.Signals(signum).name}; the same command resumes from {where}")
        self.signal = signum


class Signals:
    """Records SIGINT and SIGTERM in its body in `received` instead of ending the process; a second one ends it.

    Nested ones share the recorded signal.
    """

    _outermost: ClassVar["Signals | None"] = None

    def __init__(self):
        self._noted = 0

    @property
    def received(self) -> int:
        """The received signal, or 0."""
        return (Signals._outermost or self)._noted

    def __enter__(self):
        if Signals._outermost is None:
            Signals._outermost = self
            self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        if Signals._outermost is self:
            Signals._outermost = None
            for signum, handler in self._before.items():
                signal.signal(signum, handler)

    def _note(self, signum, _frame):
        if self._noted:
            raise KeyboardInterrupt
        self._noted = signum
        print("finishing the step and saving ...", file=sys.stderr, flush=True)
