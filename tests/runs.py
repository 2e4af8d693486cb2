"""Finished runs as their modes use them."""

import io
import pathlib
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from rnnlab.data.pipeline import Lengths
from rnnlab.tasks.base import Task
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training import prediction, report


def evaluate(task: Task, split: str) -> None:
    """As `--mode=evaluate` does."""
    report.evaluate(task, report.best_params(task)[1], split)


def predict(task: Task, lines: io.BytesIO, answers: io.BytesIO, **options) -> None:
    """As `--mode=predict` does."""
    prediction.predict(task, report.best_params(task)[1], lines, answers, **options)


def write_code(folder: pathlib.Path, code: str) -> pathlib.Path:
    """A file with code of a user's own, in a new folder."""
    folder.mkdir()
    (folder / "mine.py").write_text(code)
    return folder / "mine.py"


def task_of(config: ConfigDict) -> Seq2SeqTask:
    """A seq2seq task without data, of which the losses can be used."""
    nothing: Any = None
    return Seq2SeqTask(config, pathlib.Path(), nothing, nothing, [], Lengths(0, 0, 0.0), {})


def loss_of(config: ConfigDict) -> Callable[..., Any]:
    """The loss that training follows."""
    return task_of(config).loss
