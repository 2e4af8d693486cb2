"""The end of a run: the scores of its best parameters, pictures, samples."""

import itertools
import logging

import jax

from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.printing import show, to_json
from rnnlab.tasks.base import ModelParams, Task
from rnnlab.tasks.shown import Shown
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.pages.run import write_page
from rnnlab.training.placing import place_params
from rnnlab.training.plots import plot_curves
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import split_model


def best_params(task: Task) -> tuple[int, ModelParams]:
    """Reads the step and the parameters of the best evaluation so far; for several members, the step of the first one.

    With `evaluation.average` = n above 1 they are the mean over the n newest checkpoints that were the best when they
    were saved; over fewer, with a warning, if there are fewer.

    Raises:
      UserError: nothing has been saved yet.
    """
    found = [_best_params(member, task.config.evaluation.average) for member in task.members]
    return found[0][0], task.join_params([params for _, params in found])


def _best_params(task: Task, wanted: int) -> tuple[int, ModelParams]:
    _, params = split_model(task.sketch)
    store = Checkpoints(task.workdir / "best", keep=wanted, reading=True)
    try:
        newest = list(itertools.islice(store.newest(params), wanted))
    finally:
        store.close()
    if not newest:
        raise UserError(f"{task.workdir}: has no intact checkpoint in its folder best; train it first")
    if len(newest) < wanted:
        logging.getLogger("rnnlab").warning(
            "%s has %d best checkpoints, fewer than evaluation.average=%d; the mean is over these",
            task.workdir,
            len(newest),
            wanted,
        )
    if len(newest) == 1:
        return newest[0].step, jax.device_put(newest[0].arrays)
    mean = jax.tree.map(lambda *values: sum(values) / len(values), *(restored.arrays for restored in newest))
    return newest[0].step, jax.device_put(mean)


def evaluate(task: Task, params: ModelParams, split: str) -> None:
    """Prints the scores of parameters on a split as one JSON object, the last line on stdout.

    Raises:
      UserError: the task's data have no such split, or are not available.
    """
    show(to_json(split_scores(task, params, split)))


def split_scores(task: Task, params: ModelParams, split: str) -> dict:
    """Computes the report of a split: its name and its scores.

    Raises:
      UserError: no such split.
    """
    task.check_split(split)
    with jax.default_matmul_precision(task.config.training.matmul_precision):
        return {"split": split, **task.evaluator(final=True)(place_params(params), split)}


def _selected(task: Task, step: int) -> dict:
    """The step with the best parameters, and their value on validation."""
    metric = task.config.training.best_metric
    wanted = (str(step), "validation", metric)
    rows = [row for row in read_metrics(task.workdir) if (row["step"], row["split"], row["name"]) == wanted]
    value = float(rows[-1]["value"]) if rows else None
    return {"step": step, "metric": metric, "value": value, "lower_is_better": task.lower_is_better(metric)}


def report(task: Task, steps: int, shapes: int) -> dict[str, float]:
    """Writes the scores of the best parameters to `result.json`, and their selection metric to `selection.json`.

    Then it draws the pictures, writes `shown.json` (samples, and the names of pictures) and `report.html`, prints the
    samples and, last, the scores.

    Args:
      task: of a run that ended after `steps` steps.
      shapes: the number of batch shapes for which the training step was compiled.

    Returns:
      The scores that are numbers, by split and name: "test/loss".
    """
    step, params = best_params(task)
    split = task.final_split
    scores = split_scores(task, params, split)
    write_text(task.workdir / "selection.json", to_json(_selected(task, step)))
    write_text(task.workdir / "result.json", to_json(scores))
    plot_curves(task)
    shown = task.finish(params) or Shown()
    samples = [{**sample._asdict(), "references": list(sample.references)} for sample in shown.samples]
    write_text(task.workdir / "shown.json", to_json({"samples": samples, "pictures": dict(shown.pictures)}))
    write_page(task)
    for sample in shown.samples:
        show(sample)
    show(f"best step {step} of {steps}; compiled train-step shapes: {shapes}")
    show(to_json(scores))
    return {f"{split}/{name}": value for name, value in scores.items() if isinstance(value, int | float)}
