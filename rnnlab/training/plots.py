"""Pictures in the work directory: training curves, and where the attention looks."""

import pathlib

import numpy as np

from rnnlab.data.batch import Ids
from rnnlab.data.vocabulary import EOS
from rnnlab.pictures import drawable, picture, survived
from rnnlab.training.config import metric_names
from rnnlab.training.evaluation import Evaluator
from rnnlab.training.experiment import Experiment
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import ModelParams

_LETTER = 0.1  # inches of a letter of a label
_LABELS = 70  # most labels of an axis
_PANELS = {
    "loss": "cross-entropy (nats per label)",
    "gradient_norm": "gradient norm before clipping",
    "learning_rate": "learning rate",
    "tokens_per_second": "target tokens per second",
}


def plot_curves(experiment: Experiment) -> None:
    """Draws `curves.png` out of `metrics.csv`: loss, gradient norm, learning rate, speed, and the task's metrics."""
    path = experiment.workdir / "curves.png"
    with survived(path):
        _plot_curves(path, experiment)


def _plot_curves(path: pathlib.Path, experiment: Experiment) -> None:
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in read_metrics(experiment.workdir):
        by_split = curves.setdefault(row["name"], {})
        by_split.setdefault(row["split"], []).append((int(row["step"]), float(row["value"])))
    panels = _PANELS | {name: f"{name.upper()} (%)" for name in metric_names(experiment.config)}
    panels = {name: label for name, label in panels.items() if name in curves}
    columns = 3
    rows = -(-len(panels) // columns)
    with picture(path, 4.5 * columns, 3.2 * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for axis, (name, label) in zip(axes, panels.items(), strict=False):
            for split, points in curves[name].items():
                lonely = len(points) == 1
                axis.plot(*zip(*points, strict=True), marker="o" if lonely else None, label=split)
            axis.set(xlabel="step", title=label)
            axis.grid(alpha=0.3)
            if len(curves[name]) > 1:
                axis.legend()
            if name == "gradient_norm" and experiment.config.training.clip_global_norm:
                axis.axhline(experiment.config.training.clip_global_norm, color="gray", linestyle="--", linewidth=1)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()


def write_attention(
    evaluator: Evaluator,
    params: ModelParams,
    sources: list[list[int]],
    outputs: list[Ids],
    stems: list[pathlib.Path],
) -> None:
    """Writes where a model with attention looks: for each encoded source and output the array `[output, source]`, the
    end sign's row last, as `<stem>.npy`, and a picture of it as `<stem>.png`. Empty sources have none."""
    experiment = evaluator.experiment
    rows = [row for row, source in enumerate(sources) if source]
    said = [outputs[row][outputs[row] > EOS].tolist() for row in rows]
    found = evaluator.attention(params, [sources[row] for row in rows], said)
    for row, ids, weights in zip(rows, said, found, strict=True):
        names = experiment.source.pieces(sources[row]), experiment.target.pieces([*ids, EOS])
        path = stems[row].with_suffix(".png")
        with survived(path):
            np.save(path.with_suffix(".npy"), weights)
            _plot_attention(path, weights, *names)


def _plot_attention(path: pathlib.Path, weights: np.ndarray, source: list[str], target: list[str]) -> None:
    rows, columns = weights.shape
    source, target = ([drawable(token) for token in tokens] for tokens in (source, target))
    below, beside = (max(map(len, names)) for names in (source, target))
    upright = below > 1  # words side by side would run into each other
    width, height = 1.5 + 0.35 * columns + _LETTER * beside, 1.2 + 0.3 * rows + _LETTER * below * upright
    with picture(path, width, height) as figure:
        axis = figure.subplots()
        axis.imshow(weights, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        every_column, every_row = (-(-number // _LABELS) for number in (columns, rows))
        axis.set_xticks(range(0, columns, every_column), source[::every_column], rotation=90 if upright else 0)
        axis.set_yticks(range(0, rows, every_row), target[::every_row])
        axis.set(xlabel="source", ylabel="output")
