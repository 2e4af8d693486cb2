"""The fields and scores of a sweep's runs for the tab HPARAMS of TensorBoard.

Imports `rnnlab.training.records`.
"""

import shutil

from tensorboardX import summary

from rnnlab.sweep.results import Done, SweepRun
from rnnlab.sweep.settings import typed
from rnnlab.training.records import Events


def write_hparams(run: SweepRun, done: Done) -> None:
    """Writes the swept fields and the scores of a finished run to its folder `hparams`, instead of earlier ones."""
    shutil.rmtree(folder := run.folder / "hparams", ignore_errors=True)
    if done.failure:
        return
    scores = {f"test/{name}": value for name, value in done.scores.items() if isinstance(value, int | float)}
    if done.chosen_by is not None:
        scores[f"validation/{done.selection['metric']}"] = done.chosen_by
    fields = {name: typed(name, value, run.base) for name, value in done.values.items()}
    events = Events(folder, None)
    for part in summary.hparams(fields, scores):
        events.add(part, done.steps)
    for name, value in scores.items():
        events.add(summary.scalar(name, value), done.steps)
    events.close()
