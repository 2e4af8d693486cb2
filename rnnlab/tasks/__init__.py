"""What can be trained: a folder for each task, `base.py` what the trainer knows of one, and here the tasks by name.

A task imports models, data, searches, losses and metrics, and of `rnnlab.training` what it builds on; the trainer is
handed a task and imports `base` only. Importing this package loads none of them.
"""

import difflib
import importlib
from typing import TYPE_CHECKING

from rnnlab.errors import UserError

if TYPE_CHECKING:
    from rnnlab.tasks.base import Task

TASKS = {"seq2seq": "rnnlab.tasks.seq2seq.task:Seq2SeqTask"}


def find_task(name: str) -> type["Task"]:
    """Imports a task by its name.

    Raises:
      UserError: an unknown one.
    """
    if name not in TASKS:
        nearest = difflib.get_close_matches(name, TASKS, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(f"config.experiment: unknown {name!r}{hint}; allowed: {', '.join(TASKS)}")
    module, _, attribute = TASKS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
