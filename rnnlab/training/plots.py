"""The training curves: of one run as a picture in the work directory, or of several over each other."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rnnlab.pictures import picture, survived
from rnnlab.tasks.base import Task
from rnnlab.training.reporting import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {
    "loss": "loss",
    "gradient_norm": "gradient norm before clipping",
    "learning_rate": "learning rate",
}
_COLUMNS = 3
Points = list[tuple[int, float]]  # step, value
Curves = dict[str, dict[str, Points]]  # by the name of the value, then by split


def read_curves(workdir: pathlib.Path) -> Curves:
    """Reads the curves in `metrics.csv`."""
    curves: Curves = {}
    for row in read_metrics(workdir):
        points = curves.setdefault(row["name"], {}).setdefault(row["split"], [])
        points.append((int(row["step"]), float(row["value"])))
    return curves


def panels(task: Task, curves: Collection[str]) -> dict[str, str]:
    """Returns those of the named curves to draw, with their titles: loss, gradient norm, learning rate, speed, and the
    task's metrics."""
    speed = f"{task.unit}_per_second"
    titles = _PANELS | {speed: speed.replace("_", " ")} | task.curves()
    return {name: title for name, title in titles.items() if name in curves}


def draw_panel(axis: "Axes", title: str, lines: Mapping[str, Points]) -> None:
    """Draws curves, by their labels, over the training steps."""
    for label, points in lines.items():
        axis.plot(*zip(*points, strict=True), marker="o" if len(points) == 1 else None, label=label)
    axis.set(xlabel="step", title=title)
    axis.grid(alpha=0.3)
    if len(lines) > 1:
        axis.legend()


def draw_limit(axis: "Axes", task: Task, name: str) -> None:
    """Marks the norm from which a gradient is clipped, in the panel of the gradient norm."""
    if name == "gradient_norm" and task.config.training.clip_global_norm:
        axis.axhline(task.config.training.clip_global_norm, color="gray", linestyle="--", linewidth=1)


def panel_axes(figure: "Figure", number: int) -> "Sequence[Axes]":
    """Returns the axes of `number` panels in rows, of a figure made with `panels_size`."""
    axes = figure.subplots(-(-number // _COLUMNS), _COLUMNS, squeeze=False).flatten().tolist()
    for axis in axes[number:]:
        axis.set_axis_off()
    return axes[:number]


def panels_size(number: int) -> tuple[float, float]:
    """Returns width and height in inches of a picture of `number` panels."""
    return 4.5 * _COLUMNS, 3.2 * -(-number // _COLUMNS)


def plot_curves(task: Task) -> None:
    """Draws `curves.png` from `metrics.csv`, with the panels of `panels`."""
    path = task.workdir / "curves.png"
    with survived(path):
        curves = read_curves(task.workdir)
        titles = panels(task, curves)
        with picture(path, *panels_size(len(titles))) as figure:
            for axis, (name, title) in zip(panel_axes(figure, len(titles)), titles.items(), strict=True):
                draw_panel(axis, title, curves[name])
                draw_limit(axis, task, name)
