"""The terminal, as a pseudo-terminal of a size shows it."""

import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios

import pytest

from rnnlab.training import terminal
from rnnlab.training.terminal import Terminal


class Screen:
    """A terminal of so many rows and columns in place of stderr."""

    def __init__(self, monkeypatch, rows, columns):
        self._reads, writes = pty.openpty()
        fcntl.ioctl(writes, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        monkeypatch.setattr(sys, "stderr", os.fdopen(writes, "w"))
        self.seen = ""

    def read_until(self, pattern: str) -> None:
        """Waits for a text."""
        while not re.search(pattern, self.seen, re.DOTALL):
            self.seen += os.read(self._reads, 65536).decode()

    @property
    def draws(self) -> list[str]:
        """What was written between two returns to the start of a line."""
        return re.split(r"[\r\n]+", self.seen)


@pytest.mark.parametrize(("rows", "columns", "widest"), [(0, 0, 80), (24, 40, 40), (50, 200, 80), (1, 80, 80)])
def test_a_bar_fits_and_moves_by_itself_while_what_takes_long_is_named(monkeypatch, rows, columns, widest):
    screen = Screen(monkeypatch, rows, columns)
    monkeypatch.setattr(terminal, "_SECOND", 0.01)
    shown = Terminal(steps=50, start=0)
    shown.move(25)
    with shown.doing("compiling"):
        screen.read_until("compiling.*compiling.*compiling")  # nothing calls the bar
    shown.say("step 25  train  loss 1")
    shown.close()
    screen.read_until("loss 1.*training")
    bars = [draw for draw in screen.draws if "%|" in draw]
    assert any("50%" in bar for bar in bars)
    assert max(map(len, bars)) in (widest - 1, widest - 2)
    assert any(draw.startswith("[") and draw.endswith("s] step 25  train  loss 1") for draw in screen.draws)


def test_log_messages_are_lines_above_the_bar(monkeypatch):
    screen, logger = Screen(monkeypatch, 24, 80), logging.getLogger("rnnlab")
    handlers = [logging.StreamHandler()]
    monkeypatch.setattr(logger, "handlers", handlers)
    shown = Terminal(steps=50, start=0)
    logger.warning("step 3 skipped")
    shown.close()
    screen.read_until("step 3 skipped.*training")
    assert "step 3 skipped" in screen.draws
    assert logger.handlers == handlers


def test_without_a_terminal_there_are_only_lines(capsys):
    shown = Terminal(steps=50, start=0)
    shown.move(25)
    with shown.doing("compiling"):
        shown.say("step 25")
    shown.close()
    assert re.fullmatch(r"\[ +\d+ s\] step 25\n", capsys.readouterr().err)
