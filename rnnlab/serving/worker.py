"""The one thread that uses the model: answers what waits, questions with the same options together."""

import itertools
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Self

from rnnlab.run import Run
from rnnlab.tasks.base import Predictor

MOST_WAITING, MOST_BYTES = 512, 64 * 2**20  # of questions that wait; a single one may be larger
_LINES_TOGETHER = 256  # maximum lines of questions that are joined
_PREDICTORS = 16  # combinations of options whose compiled programs are stored
_STREAMS = 1024  # texts whose state is stored
_NUMBERS = 2**30  # line numbers start again: they are int32 where samples are drawn


class Full(Exception):
    """Too much is waiting already."""


class Question(NamedTuple):
    """Lines to answer, or the one file of a task that reads files.

    Attributes:
      lines: without line ends.
      options: of `Run.predict`, sorted by name.
      stream: the name of the text that the only line continues; "" for lines on their own.
    """

    lines: list[bytes]
    options: tuple[tuple[str, Any], ...] = ()
    stream: str = ""


class Reply(NamedTuple):
    """The answers to a question; `continued` is whether the server had the state of its stream."""

    answers: list[str]
    continued: bool = False


class _Waiting(NamedTuple):
    question: Question
    size: int  # bytes
    reply: Future[Reply]


class Worker:
    """Answers questions in one thread, the oldest first, together with others of the same options, while its context
    is open.

    Questions of the same stream are answered one after the other, in their order. Lines are numbered from the start of
    the worker, as those of one long file.

    Args:
      run: the run to use.

    Attributes:
      run: the same.
      takes_whole: whether the run answers files instead of lines.
      is_warm: whether no number of lines will have to be compiled, except with other options; while nothing waits, the
        programs of the run's own options are compiled.

    Raises:
      UserError: the task of the run does not predict from lines.
    """

    def __init__(self, run: Run):
        self.run, self._answered, self._closed = run, 0, False
        self._predictors: dict[tuple[tuple[str, Any], ...], Predictor] = {}
        self._streams: dict[str, Any] = {}
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self.takes_whole, self.is_warm = self._predictor(()).takes_whole, False
        self._thread = threading.Thread(None, self._work, "model")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        """Ends the thread after what it computes; the replies of questions that still wait are cancelled."""
        with self._changed:
            self._closed = True
            for each in self._waiting:
                each.reply.cancel()
            self._changed.notify()
        self._thread.join()  # a process that ends within a computation of jax is aborted

    @property
    def waiting(self) -> int:
        """The number of questions that the model has not begun."""
        return len(self._waiting)

    def ask(self, question: Question) -> Future[Reply]:
        """Adds a question to those that wait; a reply that is cancelled before the model begins costs nothing.

        Raises:
          Full: too much is waiting.
        """
        new = _Waiting(question, sum(map(len, question.lines)), Future())
        with self._changed:
            size = new.size + sum(each.size for each in self._waiting)
            if len(self._waiting) >= MOST_WAITING or (self._waiting and size > MOST_BYTES):
                raise Full
            self._waiting.append(new)
            self._changed.notify()
        return new.reply

    def _work(self) -> None:
        for _ in self._predictor(()).warm_up():  # what waits comes first
            while self._waiting and not self._closed:
                self._answer(self._take())
            if self._closed:
                return
        self.is_warm = True
        while not self._closed:
            self._answer(self._take())

    def _take(self) -> list[_Waiting]:
        """Waits for questions; returns the oldest, and those that it can be answered with; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            oldest, taken, left = self._waiting[0].question, list[_Waiting](), list[_Waiting]()
            streams, room = set[str](), _LINES_TOGETHER
            for each in self._waiting:
                lines, options, stream = each.question
                alike = options == oldest.options and bool(stream) == bool(oldest.stream) and stream not in streams
                if alike and (not taken or (len(lines) <= room and not self.takes_whole)):
                    taken.append(each)
                    room -= len(lines)
                else:
                    left.append(each)
                if stream:
                    streams.add(stream)  # later ones have to wait, whatever their options
            self._waiting = left
        return [each for each in taken if each.reply.set_running_or_notify_cancel()]

    def _answer(self, taken: Sequence[_Waiting]) -> None:
        """Sets the replies; where answering all of them together fails, each on its own, so that it fails alone."""
        if not taken:
            return
        try:
            replies = self._replies([each.question for each in taken])
        except Exception as error:
            if len(taken) == 1:
                taken[0].reply.set_exception(error)
                return
            for each in taken:
                self._answer([each])
            return
        for each, reply in zip(taken, replies, strict=True):
            each.reply.set_result(reply)

    def _replies(self, questions: Sequence[Question]) -> list[Reply]:
        predictor = self._predictor(questions[0].options)
        lines = [line for question in questions for line in question.lines]
        first, self._answered = self._answered, (self._answered + len(lines)) % _NUMBERS
        if questions[0].stream:
            return self._resume(predictor, lines, first, [question.stream for question in questions])
        answers = predictor(lines, first)
        if predictor.takes_whole:
            for remark in predictor.remarks():
                logging.getLogger("rnnlab").warning("%s", remark)
            return [Reply(answers)]
        if len(answers) != len(lines):  # of a task of the user's own; the answers would reach other clients
            raise RuntimeError(f"the predictor gave {len(answers)} answers to {len(lines)} lines")
        remaining = iter(answers)
        return [Reply(list(itertools.islice(remaining, len(question.lines)))) for question in questions]

    def _resume(self, predictor: Predictor, lines: list[bytes], first: int, streams: list[str]) -> list[Reply]:
        contexts = [self._streams.get(stream) for stream in streams]
        answers, after = predictor.resume(lines, first, contexts)
        for stream, context in zip(streams, after, strict=True):
            _store(self._streams, stream, context, most=_STREAMS)
        return [Reply([answer], context is not None) for answer, context in zip(answers, contexts, strict=True)]

    def _predictor(self, options: tuple[tuple[str, Any], ...]) -> Predictor:
        found = self._predictors.get(options) or self.run.predictor(**dict(options))
        _store(self._predictors, options, found, most=_PREDICTORS)
        return found


def _store(stored: dict[Any, Any], name: Any, value: Any, *, most: int) -> None:
    """Stores a value as the last one used; drops the least recently used beyond `most`."""
    stored.pop(name, None)
    stored[name] = value
    if len(stored) > most:
        del stored[next(iter(stored))]
