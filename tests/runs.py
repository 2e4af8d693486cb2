"""Finished runs as their modes use them."""

import io
import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.data.pipeline import Lengths
from rnnlab.tasks.base import Task
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training import prediction, report


class Poisonable(nnx.Module):
    """A seq2seq model whose logits are its only parameter, or `poison` where the source has an id above 1."""

    def __init__(self, w: Array, poison: float):
        self.w, self.poison = nnx.Param(w), poison

    def __call__(self, source, *_, **_options):
        return self.w[...] * jnp.where(source[..., None] > 1, self.poison, 1.0)


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
