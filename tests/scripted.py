"""Runs without the report at their end, whose scores and accidents are given; they share one compiled step."""

import pathlib
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from rnnlab.training import loop
from rnnlab.training.programs import Programs
from rnnlab.training.workdir import create_task

Scores = Callable[[int], dict[str, float]]
_COMPILED: dict = {}


class Stopped(Exception):
    """What scores raise to end a run as if it were killed."""


def start(
    config: ConfigDict,
    workdir: pathlib.Path,
    scores: Scores | None = None,
    ruins=lambda run: False,
    compiled: str = "seq2seq",
):
    """A run before its next step.

    Args:
      scores: of a step, instead of an evaluation's.
      compiled: runs of the same name share a compiled step.
      ruins: `(run) -> bool`: whether the step that comes makes the parameters infinite.
    """
    task = create_task(config, workdir)
    run = loop.Training(task, Programs(task))
    step = _COMPILED.setdefault(
        (compiled, config.training.average_decay), run._step
    )  # all else that shapes it stays the same
    if scores is not None:
        run._evaluate_on = lambda params, split: scores(run.step)

    def ruining(state, batch, seed):
        ruined = ruins(run)
        state, metrics = step(state, batch, seed)
        if ruined:
            state = state._replace(params=jax.tree.map(lambda value: value / (value - value), state.params))
        return state, metrics

    run._step = ruining
    return run


def train(*arguments, **options):
    """Such a run, when it has ended: by itself, or because its scores raised `Stopped`."""
    run = start(*arguments, **options)
    try:
        run.to_the_end()
    except Stopped:
        pass
    finally:
        run.close()
    return run


def scored(values: list[float], name: str, *, every: int, **others: float) -> Scores:
    """Scores of the evaluations in their order; after the last one the run is stopped."""

    def at(step: int) -> dict[str, float]:
        if step > every * len(values):
            raise Stopped
        return {"loss": 1.0, name: values[step // every - 1]} | others

    return at


def steps(folder: pathlib.Path) -> list[int]:
    """The steps whose checkpoints are in a folder."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
