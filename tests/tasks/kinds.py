"""A small task of each kind, with a first batch of rows of unequal lengths."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from rnnlab.tasks.base import Task
from rnnlab.tasks.lag import task as lag
from rnnlab.tasks.language_model import config as language_model
from rnnlab.tasks.language_model.task import LanguageModelTask
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.tasks.sequence.forecast import ForecastTask
from rnnlab.tasks.sequence.task import SequenceTask
from tests import tiny
from tests.tasks.sequence import files


class Kind(NamedTuple):
    """A task, its first batch and the carry before it, on the device."""

    task: Task
    batch: Any
    carry: Any


def make(name: str, folder: pathlib.Path, **fields: Any) -> Kind:
    """Makes the task `name` of `KINDS` from data written to `folder`; dots in fields are two underscores."""
    task_class, make_config = _MAKERS[name]
    config = make_config(folder)
    config.training.update({"batch_size": 8, "schedule": "constant", "optimizer": "sgd", "learning_rate": 0.1})
    config.update_from_flattened_dict({field.replace("__", "."): value for field, value in fields.items()})
    task_class.check(config)
    task = task_class.create(config, folder)
    rows = config.training.batch_size
    batch = next(task.batches(seed=0, process=0, processes=1))
    carry = task.start_carry(task.make_model(), rows)
    if name == "language_model":  # a short piece, of rows that differ in their state and in whether they start
        batch = batch._replace(lengths=np.full(rows, 4, np.int32), starts=np.arange(rows) % 3 == 0)
        carry = jax.tree.map(lambda v: jnp.linspace(-1, 1, v.size).reshape(v.shape), carry)
    return Kind(task, jax.device_put(batch), carry)


def _seq2seq(folder: pathlib.Path) -> ConfigDict:
    tiny.write_data(folder)
    config = tiny.get_config(str(folder))
    for side in ("encoder", "decoder"):
        config.model[side].dropout = 0.0
    return config


def _language_model(folder: pathlib.Path) -> ConfigDict:
    config = language_model.default_config()
    for split in ("train", "validation"):
        (folder / f"{split}.txt").write_text("one bird sees the sun.\n" * 40)
        config.data.files[split] = str(folder / f"{split}.txt")
    config.model.update({"cell": "lstm", "features": 12, "embedding": 12, "tied_embeddings": True})
    config.training.bptt = 6
    return config


def _classes(folder: pathlib.Path) -> ConfigDict:
    weights = {"training__class_weights": 1.0, "model__pooling": "attention"}
    return files.config("ts", "class", files.ts(folder), model__block="prenorm", **weights)


def _tags(folder: pathlib.Path) -> ConfigDict:
    return files.config("tagged", "class_per_step", files.tagged(folder), model__character_features=4)


def _forecast(folder: pathlib.Path) -> ConfigDict:
    steps = np.arange(80)
    rows = [f"{np.sin(step):.4f},{step % 7}" for step in steps]
    (folder / "series.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    data = {"data__look_back": 12, "data__horizon": 6, "data__rows": "50,15,15", "model__forecast__segment": 3}
    return files.config("csv", "forecast", {"train": str(folder / "series.csv")}, **data)


def _lag(folder: pathlib.Path) -> ConfigDict:
    config = lag.default_config()
    config.data.lag, config.model.features = 6, 8
    return config


_MAKERS: dict[str, tuple[type[Task], Callable[[pathlib.Path], ConfigDict]]] = {
    "seq2seq": (Seq2SeqTask, _seq2seq),
    "language_model": (LanguageModelTask, _language_model),
    "classes": (SequenceTask, _classes),
    "tags": (SequenceTask, _tags),
    "forecast": (ForecastTask, _forecast),
    "lag": (lag.LagTask, _lag),
}
KINDS = tuple(_MAKERS)
