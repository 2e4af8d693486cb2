"""Ensembles of several runs."""

import dataclasses
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training.workdir import open_task


def open_ensemble(workdirs: Sequence[pathlib.Path], config: ConfigDict | None = None) -> Seq2SeqTask:
    """Opens several work directories as an ensemble, with the settings of the first one.

    Raises:
      UserError: as `open_task`, another task, or different vocabularies.
    """
    tasks = []
    for i, workdir in enumerate(workdirs):
        task = open_task(workdir, config if i == 0 else None)
        if not isinstance(task, Seq2SeqTask):
            raise UserError(f"--ensemble: {workdir} is of {task.config.experiment}; seq2seq is needed")
        tasks.append(task)
    first, *others = tasks
    for other in others:
        for side in ("source", "target"):
            if getattr(other, side) != getattr(first, side):
                raise UserError(
                    f"{other.workdir}: its {side} vocabulary is not that of {first.workdir}; the models of an ensemble "
                    "must be trained on the same data in the same units"
                )
    return dataclasses.replace(first, others=tuple(others))
