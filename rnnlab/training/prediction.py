"""Prediction with a trained model: a line in, a line out."""

import inspect
import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from rnnlab.errors import UserError
from rnnlab.tasks.base import ModelParams, Predictor, Task

_LINES_AT_ONCE = 2048  # maximum lines predicted together, so that length buckets fill up


def predict(task: Task, params: ModelParams, lines: BinaryIO, answers: BinaryIO, **options: Any) -> None:
    """Writes one line for each line read, in order, as soon as it is predicted.

    Args:
      task: the task of the model.
      params: of the model.
      lines, answers: UTF-8, an input or an output per line.
      options: of the task's predictor.

    Raises:
      UserError: an option that the task does not have, or a failure to read further lines (those before are answered).
    """
    predictor, done = make_predictor(task, params, options), 0
    for chunk in [[_whole(lines)]] if predictor.takes_whole else _chunks(lines):
        for answer in predictor(chunk, done):
            answers.write(answer.encode() + b"\n")
        answers.flush()
        done += len(chunk)
    for remark in predictor.remarks():
        logging.getLogger("rnnlab").warning("%s", remark)


def make_predictor(task: Task, params: ModelParams, options: Mapping[str, Any]) -> Predictor:
    """Makes a task's predictor with its options.

    Raises:
      UserError: an unknown option, or a value that is not allowed.
    """
    known = list(inspect.signature(task.predictor).parameters)[1:]
    for name in options:
        if name not in known:
            allowed = ", ".join((*known, "the fields of config.evaluation"))
            raise UserError(f"{name}: not an option of {task.config.experiment}; allowed: {allowed}")
    return task.predictor(params, **options)


def _whole(lines: BinaryIO) -> bytes:
    """Reads the whole input.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return lines.read()
    except OSError as error:
        raise UserError(f"the input to predict cannot be read: {error.strerror or error}") from None


class _End(NamedTuple):
    """The end of the lines, and the error that caused it, if any."""

    failure: Exception | None


def _chunks(lines: BinaryIO) -> Iterator[list[bytes]]:
    """Returns the available lines, up to `_LINES_AT_ONCE`, waiting only for the first.

    Raises:
      UserError: the lines cannot be read any further.
    """
    waiting: queue.Queue[bytes | _End] = queue.Queue(2 * _LINES_AT_ONCE)

    def read():
        failure = None
        try:
            for line in lines:
                waiting.put(line)
        except Exception as error:  # depends on where the lines come from
            failure = error
        waiting.put(_End(failure))

    threading.Thread(None, read, daemon=True).start()
    end = None
    while end is None:
        chunk: list[bytes] = []
        while end is None and len(chunk) < _LINES_AT_ONCE and not (chunk and waiting.empty()):
            got = waiting.get()
            if isinstance(got, _End):
                end = got
            else:
                chunk.append(got)
        yield chunk
    if (failure := end.failure) is not None:
        reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
        raise UserError(f"the lines to predict cannot be read any further: {reason}")
