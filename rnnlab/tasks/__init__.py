"""What can be trained: a folder for each task, `base.py` what the trainer knows of one, and here the tasks by name.

A task imports models, data, searches, losses and metrics, and of `rnnlab.training` what it builds on; the trainer is
handed a task and imports `base` only. Importing this package loads none of them.
"""

import difflib
from typing import TYPE_CHECKING

from rnnlab.errors import UserError
from rnnlab.own import is_own, load_own

if TYPE_CHECKING:
    from rnnlab.tasks.base import Task

TASKS = {
    "seq2seq": "rnnlab.tasks.seq2seq.task:Seq2SeqTask",
    "sequence": "rnnlab.tasks.sequence.task:SequenceTask",
    "lag": "rnnlab.tasks.lag.task:LagTask",
}


def find_task(name: str) -> type["Task"]:
    """Imports a task by its name, or as `module:NAME` or `file.py:NAME`.

    Raises:
      UserError: an unknown one, or a thing of the user's own that cannot be imported or is no task.
    """
    if is_own(name):
        return _own_task(name)
    if name not in TASKS:
        nearest = difflib.get_close_matches(name, TASKS, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(
            f"config.experiment: unknown {name!r}{hint}; allowed: {', '.join(TASKS)}, or a task of your own as "
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
        raise UserError(f"config.experiment: {name!r} is no rnnlab.tasks.base.Task")
    return found
