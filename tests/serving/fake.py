"""A run whose model is a dictionary, to see what a server asks of it."""

import threading
import types

from rnnlab.errors import UserError
from rnnlab.tasks.base import Predictor


class Echo(Predictor):
    """Answers each line with itself and its options; notes each call, and waits in it while `free` is not set."""

    def __init__(self, calls, free, options):
        self.calls, self.free, self.options = calls, free, options

    def _note(self, lines):
        self.calls.append(list(lines))
        assert self.free.wait(30)
        if b"bug" in lines:
            raise RuntimeError("a bug")
        if b"bad" in lines:
            raise UserError("bad\nline")

    def __call__(self, lines, first):
        self._note(lines)
        answers = [f"{line.decode()} {first + i} {self.options}" for i, line in enumerate(lines)]
        return answers[1:] if b"lost" in lines else answers

    def resume(self, lines, first, contexts):
        self._note(lines)
        after = [(before or "") + line.decode() for before, line in zip(contexts, lines, strict=True)]
        return after, after


class Whole(Echo):
    """Answers a file with its number of lines and an end."""

    takes_whole = True

    def __call__(self, lines, first):
        self._note(lines)
        (content,) = lines
        return [str(content.count(b"\n")), "end"]


class FakeRun:
    """A run of such a predictor.

    Attributes:
      calls: the lines of each call.
      free: an event; predictors wait for it.
      made: the options of each predictor.
    """

    def __init__(self, kind=Echo):
        self.calls, self.free, self.made, self.kind = [], threading.Event(), [], kind
        self.free.set()
        self.step, self.config = 7, types.SimpleNamespace(experiment="fake")
        evaluation = {"beam_size": 1, "temperature": 0.0, "batch_size": 4}
        self.task = types.SimpleNamespace(
            config=types.SimpleNamespace(evaluation=evaluation), workdir="w", predictor=self._of_task
        )

    def _of_task(self, params, *, token_scores: bool = False, attention=None):
        raise NotImplementedError

    def predictor(self, **options):
        self.made.append(options)
        if options.get("beam_size") == 0:
            raise UserError("beam_size: 0 is not allowed")
        return self.kind(self.calls, self.free, options)
