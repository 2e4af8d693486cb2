"""Tasks: a folder for each, `base.py` with the trainer's interface to a task, and here the tasks by name.

A task imports models, data, searches, losses, metrics, and parts of `rnnlab.training`; the trainer receives a task and
imports only `base` and `shown`. Importing this package loads none of them.
"""

import difflib
from typing import TYPE_CHECKING

from rnnlab.errors import UserError
from rnnlab.own import is_own, load_own

if TYPE_CHECKING:
    from rnnlab.tasks.base import Task

TASKS = {
    "seq2seq": "rnnlab.tasks.seq2seq.task:Seq2SeqTask",
    "language_model": "rnnlab.tasks.language_model.task:LanguageModelTask",
    "sequence": "rnnlab.tasks.sequence.task:SequenceTask",
    "lag": "rnnlab.tasks.lag.task:LagTask",
}


def find_task(name: str) -> type["Task"]:
    """Imports a task by its name, or as `module:NAME` or `file.py:NAME`.

    Raises:
      UserError: an unknown task, or the user's own code cannot be imported or is not a task.
    """
    if is_own(name):
        return _own_task(name)
    if name not in TASKS:
        nearest = difflib.get_close_matches(name, TASKS, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(
            f"config.experiment: unknown {name!r}{hint}; allowed: {', '.join(TASKS)}, or your own task as "
            "module:NAME or file.py:NAME"
        )
    return load_own(TASKS[name])


def _own_task(name: str) -> type["Task"]:
    from rnnlab.tasks.base import Task

    try:
        found = load_own(name)
    except ValueError as error:
        raise UserError(f"config.experiment: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UserError(f"config.experiment: {name!r} is not a rnnlab.tasks.base.Task")
    return found
