"""The terminal during training: a line for each log, and below them a progress bar that moves each second.

Where stderr is no terminal there is no bar.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator

import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from rnnlab.printing import show

_WIDEST = 80  # columns; also those of a terminal that reports none
_ROWS = 24  # tqdm hides its bar if the terminal has none
_SECOND = 1.0
_TRAINING = "training"


class Terminal:
    """Prints lines to stderr, and on a terminal a progress bar.

    Args:
      steps: the end of the bar; start: its beginning.
      quiet: prints nothing.
    """

    def __init__(self, *, steps: int, start: int, quiet: bool = False):
        self._quiet, self._clock = quiet, time.monotonic()
        self._bar = _Bar(steps, start) if sys.stderr.isatty() and not quiet else None

    def say(self, text: str) -> None:
        """Prints a line or more, after the seconds since the start."""
        text = f"[{time.monotonic() - self._clock:5.0f} s] {text}"
        if self._bar is not None:
            self._bar.write(text)
        elif not self._quiet:
            show(text, file=sys.stderr)

    def move(self, step: int) -> None:
        """Moves the bar to a step."""
        if self._bar is not None:
            self._bar.move(step)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Names what takes long in its body before the bar."""
        if self._bar is None:
            yield
            return
        with self._bar.named(what):
            yield

    def close(self) -> None:
        """Ends the bar, which stays where it is."""
        if self._bar is not None:
            self._bar.close()


class _Bar:
    """A bar that is drawn again each second, also while a call of XLA takes long. Log messages are printed above it."""

    def __init__(self, steps: int, start: int):
        self._bar = tqdm.tqdm(
            total=steps, initial=start, unit=" steps", desc=_TRAINING, ncols=_columns(), nrows=_ROWS, leave=True
        )
        loggers = [logger for logger in (logging.getLogger("rnnlab"),) if logger.handlers]
        self._logging = contextlib.ExitStack()
        self._logging.enter_context(logging_redirect_tqdm(loggers))
        self._closed = threading.Event()
        self._ticks = threading.Thread(target=self._tick, daemon=True)
        self._ticks.start()

    def _tick(self) -> None:
        while not self._closed.wait(_SECOND):
            self._bar.ncols = _columns()
            self._bar.refresh()

    def write(self, text: str) -> None:
        encoding = sys.stderr.encoding or "utf-8"
        self._bar.write(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)

    def move(self, step: int) -> None:
        self._bar.update(step - self._bar.n)

    @contextlib.contextmanager
    def named(self, what: str) -> Iterator[None]:
        self._bar.set_description(what)
        try:
            yield
        finally:
            self._bar.set_description(_TRAINING)

    def close(self) -> None:
        self._closed.set()
        self._ticks.join()
        self._bar.close()
        self._logging.close()


def _columns() -> int:
    """Returns the columns of a bar, one less than those of the terminal, as some break a line that is full."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = 0
    return min(columns or _WIDEST, _WIDEST) - 1
