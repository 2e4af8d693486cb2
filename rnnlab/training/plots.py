"""Pictures in the work directory: training curves, and where the attention looks."""

import pathlib

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager

from rnnlab.data.pipeline import Ids
from rnnlab.data.vocabulary import EOS
from rnnlab.training.config import metric_names
from rnnlab.training.evaluation import Evaluator
from rnnlab.training.experiment import Experiment
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import ModelParams

_PANELS = {
    "loss": "cross-entropy (nats per label)",
    "gradient_norm": "gradient norm before clipping",
    "learning_rate": "learning rate",
    "tokens_per_second": "target tokens per second",
}


def plot_curves(experiment: Experiment) -> pathlib.Path:
    """Draws `curves.png` out of `metrics.csv`: loss, gradient norm, learning rate, speed, and the task's metrics."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in read_metrics(experiment.workdir):
        by_split = curves.setdefault(row["name"], {})
        by_split.setdefault(row["split"], []).append((int(row["step"]), float(row["value"])))
    panels = _PANELS | {name: f"{name.upper()} (%)" for name in metric_names(experiment.config)}
    panels = {name: label for name, label in panels.items() if name in curves}
    columns = 3
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.5 * columns, 3.2 * rows), squeeze=False, layout="tight")
    for axis, (name, label) in zip(axes.flat, panels.items(), strict=False):
        for split, points in curves[name].items():
            lonely = len(points) == 1
            axis.plot(*zip(*points, strict=True), marker="o" if lonely else None, label=split)
        axis.set(xlabel="step", title=label)
        axis.grid(alpha=0.3)
        if len(curves[name]) > 1:
            axis.legend()
        if name == "gradient_norm" and experiment.config.training.clip_global_norm:
            axis.axhline(experiment.config.training.clip_global_norm, color="gray", linestyle="--", linewidth=1)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    path = experiment.workdir / "curves.png"
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path


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
        np.save(stems[row].with_suffix(".npy"), weights)
        names = experiment.source.pieces(sources[row]), experiment.target.pieces([*ids, EOS])
        _plot_attention(stems[row].with_suffix(".png"), weights, *names)


def _plot_attention(path: pathlib.Path, weights: np.ndarray, source: list[str], target: list[str]) -> None:
    rows, columns = weights.shape
    source, target = ([_drawable(token) for token in tokens] for tokens in (source, target))
    figure, axis = plt.subplots(figsize=(1.5 + 0.35 * columns, 1.2 + 0.3 * rows), layout="tight")
    axis.imshow(weights, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    upright = max(map(len, source)) > 1  # words side by side would run into each other
    axis.set_xticks(range(columns), source, rotation=90 if upright else 0)
    axis.set_yticks(range(rows), target)
    axis.set(xlabel="source", ylabel="output")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _drawable(token: str) -> str:
    """The token, or the numbers of its code points where the font lacks one of them."""
    font = font_manager.get_font(font_manager.findfont("sans"))
    known = all(font.get_char_index(ord(character)) for character in token)
    return token if known else " ".join(f"U+{ord(character):04X}" for character in token)
