"""Pictures in the work directory: training curves, and where the attention looks."""

import pathlib

import jax
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from rnnlab.data.pipeline import Pairs, assemble
from rnnlab.training.config import metric_names
from rnnlab.training.experiment import Experiment
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import ModelParams, split_model

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


def plot_attention(experiment: Experiment, params: ModelParams, said: list[tuple[str, str]]) -> list[pathlib.Path]:
    """Draws `attention_<i>.png` for each pair of a source and what the model said: a row per output token.

    Nothing is drawn for a model without attention.
    """
    if experiment.config.model.attention == "none":
        return []
    merge, _ = split_model(experiment.make_model())
    source, target = experiment.source, experiment.target
    pairs = Pairs([source.encode(s) for s, _ in said], [target.encode(t) for _, t in said])
    size = max(1, int(pairs.sources.lengths.max())), int(pairs.targets.lengths.max()) + 1
    batch = assemble(pairs, range(len(said)), size, len(said))

    @jax.jit
    def weights_of(params: ModelParams, batch):
        model = merge(params)
        states, memory = model.encode(batch.source, batch.source_lengths)
        return model.decoder.teacher_forced(batch.inputs, states, memory)[1]

    weights = np.asarray(weights_of(params, jax.device_put(batch)))
    paths = []
    for row, (rows, columns) in enumerate(zip(batch.target_lengths, batch.source_lengths, strict=True)):
        figure, axis = plt.subplots(figsize=(1.5 + 0.35 * columns, 1.2 + 0.3 * rows), layout="tight")
        axis.imshow(weights[:rows, row, :columns], cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(columns), source.pieces(batch.source[:columns, row]))
        axis.set_yticks(range(rows), target.pieces(batch.labels[:rows, row]))
        axis.set(xlabel="source", ylabel="output")
        paths.append(experiment.workdir / f"attention_{row}.png")
        figure.savefig(paths[-1], dpi=100)
        plt.close(figure)
    return paths
