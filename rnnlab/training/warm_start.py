"""Parameters copied from another run, and frozen parameters."""

import fnmatch
import logging
import pathlib
from collections.abc import Iterable

from rnnlab.config import split_words
from rnnlab.errors import UserError
from rnnlab.tasks.base import ModelParams, Task
from rnnlab.training.report import best_params
from rnnlab.training.workdir import open_task

_LOG = logging.getLogger("rnnlab")
_SHOWN = 8  # names in a message


def take_over(params: ModelParams, task: Task) -> ModelParams:
    """Returns initial parameters with those of the run `training.init_from`, wherever name and shape agree.

    Parameters that were not found there are logged, and so are differences in `Task.meanings`.

    Raises:
      UserError: not a run of the same task, without a checkpoint, or no parameter fits.
    """
    config = task.config
    if not config.training.init_from:
        return params
    where = "config.training.init_from"
    try:
        other = open_task(pathlib.Path(config.training.init_from))
        if other.config.experiment != config.experiment:
            raise UserError(f"{other.workdir} is of {other.config.experiment}, not of {config.experiment}")
        step, found = best_params(other)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    fitting = {name: found[name] for name, own in params.items() if name in found and found[name].shape == own.shape}
    if not fitting:
        raise UserError(f"{where}: no parameter of {other.workdir} has the name and shape of one of this model")
    for what, own in task.meanings.items():
        if other.meanings.get(what) != own:
            _LOG.warning(
                "%s: the %s of %s differs, so rows start with the values of other entries", where, what, other.workdir
            )
    left = [name for name in params if name not in fitting]
    rest = f"; new: {_listed(left)}" if left else ""
    _LOG.info("%d of %d parameters from step %d of %s%s", len(fitting), len(params), step, other.workdir, rest)
    return params | fitting


def frozen_names(names: Iterable[str], patterns: str) -> frozenset[str]:
    """Finds the parameters named by `training.freeze`: paths with * for any letters.

    Raises:
      UserError: a pattern matches no parameter, or all parameters would be frozen.
    """
    known, found = list(names), set[str]()
    for pattern in split_words(patterns):
        matched = fnmatch.filter(known, pattern)
        if not matched:
            raise UserError(f"config.training.freeze: {pattern!r} matches no parameter; there are {_listed(known)}")
        found |= set(matched)
    if found and len(found) == len(known):
        raise UserError(f"config.training.freeze: {patterns!r} leaves nothing to train")
    return frozenset(found)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
