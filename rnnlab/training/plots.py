"""The training curves: a picture in the work directory."""

import pathlib

from rnnlab.pictures import picture, survived
from rnnlab.tasks.base import Task
from rnnlab.training.reporting import read_metrics

_PANELS = {
    "loss": "loss",
    "gradient_norm": "gradient norm before clipping",
    "learning_rate": "learning rate",
}


def plot_curves(task: Task) -> None:
    """Draws `curves.png` from `metrics.csv`: loss, gradient norm, learning rate, speed, and the task's metrics."""
    path = task.workdir / "curves.png"
    with survived(path):
        _plot_curves(path, task)


def _plot_curves(path: pathlib.Path, task: Task) -> None:
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in read_metrics(task.workdir):
        by_split = curves.setdefault(row["name"], {})
        by_split.setdefault(row["split"], []).append((int(row["step"]), float(row["value"])))
    speed = f"{task.unit}_per_second"
    panels = _PANELS | {speed: speed.replace("_", " ")} | task.curves()
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
            if name == "gradient_norm" and task.config.training.clip_global_norm:
                axis.axhline(task.config.training.clip_global_norm, color="gray", linestyle="--", linewidth=1)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
