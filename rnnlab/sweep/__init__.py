"""Many runs of one config, each in its own work directory and process: a grid, random draws, successive halving.

A stopped sweep resumes; it ends with a table, a picture and a page. Imports `rnnlab.training`; imported only by
`app.py`.
"""

import dataclasses
import pathlib
import signal
import sys
from collections.abc import Sequence

from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.own import name_of_own
from rnnlab.printing import show
from rnnlab.sweep.halving import Stage, plan
from rnnlab.sweep.hparams import write_hparams
from rnnlab.sweep.processes import Job, last_line, run_jobs
from rnnlab.sweep.results import SweepRun, name_of
from rnnlab.sweep.settings import Values, read_sweep
from rnnlab.sweep.table import write_table

__all__ = ["read_sweep", "run_sweep"]


def run_sweep(
    settings: Sequence[Values],
    config: ConfigDict,
    workdir: pathlib.Path,
    command: Sequence[str],
    cell: int | None = None,
    *,
    jobs: int = 1,
    eta: int = 0,
) -> int:
    """Does the unfinished runs of a sweep; then prints a table, and writes it as `sweep.csv`, as a picture
    (`sweep.png`) and as a page (`sweep.html`). A failed run is logged, and stops no other.

    Args:
      settings: of each run.
      workdir: contains a work directory for each run, named by its values, with the run's output in `log.txt`.
      command: trains one run, with `--workdir` and the values as further flags.
      cell: for job arrays, does only the run of this number, from 0, and no table.
      jobs: the number of runs at once.
      eta: of successive halving: each stage keeps the best 1 / eta of its runs, and trains them eta times as long; 0
        trains all to the end.

    Returns:
      the exit status: 0, 1 if a run failed, or 128 + signal if a signal stopped it.

    Raises:
      UserError: no such cell, or too few steps for the stages.
    """
    if cell is not None and not 0 <= cell < len(settings):
        raise UserError(f"--sweep_cell: {cell} is not one of the {len(settings)} runs, which count from 0")
    if eta and any("training.steps" in values for values in settings):
        raise UserError("--sweep_halving: sets training.steps, which --sweep cannot contain then")
    chosen = settings if cell is None else [settings[cell]]
    runs = [SweepRun(values, workdir, config) for values in chosen]
    stages = plan(len(runs), eta, config.training) if eta else [Stage(len(runs), {})]
    last: dict[str, SweepRun] = {}  # by name, each in its last stage
    for number, stage in enumerate(stages, 1):
        if eta:
            show(f"stage {number} of {len(stages)}: {stage.budget['training.steps']} steps", file=sys.stderr)
        runs = [dataclasses.replace(run, budget=stage.budget) for run in runs[: stage.runs]]
        if signum := run_jobs([_job(run, command) for run in runs], jobs):
            name = signal.Signals(signum).name
            show(f"stopped by {name}; the same command resumes from here", file=sys.stderr)
            return 128 + signum
        last |= {name_of(run.values): run for run in runs}
        if stage is not stages[-1]:
            runs = sorted(filter(SweepRun.passed, runs), key=SweepRun.best_of_stage)
    found = [run.done(last_line(run.folder)) for run in last.values()]
    for run, done in zip(last.values(), found, strict=True):
        write_hparams(run, done)
    if cell is None:
        write_table(found, name_of_own(config.training.best_metric), workdir)
    return int(any(done.failure for done in found))


def _job(run: SweepRun, command: Sequence[str]) -> Job:
    return Job(name_of(run.values), run.folder, [*command, *run.flags], run.passed)
