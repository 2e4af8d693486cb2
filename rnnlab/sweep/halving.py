"""Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): all runs for few steps, the best for more.

Imports only `errors`.
"""

import math
from typing import NamedTuple

from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.sweep.settings import Values


class Stage(NamedTuple):
    """A stage of a sweep: the number of its runs, and the fields that set how long they train."""

    runs: int
    budget: Values


def plan(runs: int, eta: int, training: ConfigDict) -> list[Stage]:
    """Returns the stages: each keeps the best 1 / eta (rounded up) of the runs before it, for eta times their steps.

    The last stage has one run and `training.steps`. The schedule of the learning rate has its whole length from the
    start, so that a run that is kept never differs from one that was not stopped.

    Raises:
      UserError: the first stage would have less than one step.
    """
    sizes = [runs]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / eta))
    first = training.steps / eta ** (len(sizes) - 1)
    if first < training.steps_per_call:
        raise UserError(
            f"--sweep_halving={eta}: {runs} runs need {len(sizes)} stages, the first of {first:.3g} steps; raise "
            f"config.training.steps={training.steps} or use fewer runs"
        )
    schedule = str(training.schedule_steps or training.steps)
    stages = []
    for number, size in enumerate(sizes):
        calls = round(first * eta**number / training.steps_per_call)
        steps = training.steps if size == 1 else calls * training.steps_per_call
        stages.append(Stage(size, {"training.steps": str(steps), "training.schedule_steps": schedule}))
    return stages
