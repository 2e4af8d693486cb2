"""Prediction with a trained model: a line in, a line out."""

import inspect
import logging
from collections.abc import Mapping
from typing import Any, BinaryIO

from rnnlab.errors import UserError
from rnnlab.lines import read_chunks, read_whole
from rnnlab.tasks.base import ModelParams, Predictor, Task
from rnnlab.training.placing import place_params


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
    for chunk in [[read_whole(lines)]] if predictor.takes_whole else read_chunks(lines):
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
    return task.predictor(place_params(params), **options)
