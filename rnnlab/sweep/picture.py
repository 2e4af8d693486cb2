"""The picture of a sweep: the scores of runs that differ only in their seed, and against each numeric field.

Imports only `pictures`, and matplotlib when it draws.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnlab.pictures import drawable, picture
from rnnlab.sweep.results import Done

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 3  # a numeric field with more values is an axis of its own
_WIDE = 20.0  # the quotient of values from which their axis is logarithmic
_HEIGHT, _PANEL, _COLUMN = 3.5, 4.5, 1.1  # inches


def draw_scores(found: Sequence[Done], metric: str, path: pathlib.Path) -> None:
    """Draws a column of points for runs that differ only in their seed, with a line at their mean; and, for each
    numeric field with many values, the best value on validation against it."""
    axes_of = [name for name in found[0].values if name != "seed" and _is_axis([done.values[name] for done in found])]
    columns = _columns(found, metric, skipped=("seed", *axes_of))
    widths = [2.5 + _COLUMN * len(columns)] * bool(columns) + [_PANEL] * len(axes_of)
    with picture(path, sum(widths), _HEIGHT) as figure:
        panels = list(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0])
        if columns:
            split = next((done.scores["split"] for done in found if "split" in done.scores), "test")
            _draw_columns(panels.pop(0), columns, f"{metric}, {split} split")
        for axis, name in zip(panels, axes_of, strict=True):
            _draw_against(axis, name, found, metric)


def _is_axis(values: Sequence[str]) -> bool:
    try:
        return len({float(value) for value in values}) > _MANY
    except ValueError:
        return False


def _columns(found: Sequence[Done], metric: str, *, skipped: Sequence[str]) -> dict[str, list[float]]:
    """Returns the scores of the runs that agree in all fields but some; nothing if there are no other fields."""
    groups: dict[str, list[float]] = {}
    for done in found:
        lines = [f"{k.rpartition('.')[2]}={v}" for k, v in done.values.items() if k not in skipped]
        if not lines and len(skipped) > 1:  # panels show them all
            continue
        if (score := done.scores.get(metric)) is not None:
            groups.setdefault("\n".join(map(drawable, lines or ["all seeds"])), []).append(score)
    return groups


def _draw_columns(axis: "Axes", columns: dict[str, list[float]], label: str) -> None:
    for column, scores in enumerate(columns.values()):
        axis.plot([column] * len(scores), scores, "o", color="tab:blue", alpha=0.6)
        axis.plot([column - 0.25, column + 0.25], 2 * [sum(scores) / len(scores)], color="tab:orange")
    axis.set_xticks(range(len(columns)), list(columns))
    axis.set(ylabel=label, xlim=(-0.5, max(len(columns), 1) - 0.5))


def _draw_against(axis: "Axes", name: str, found: Sequence[Done], metric: str) -> None:
    """Draws the best value on validation against a field; runs of more steps are darker."""
    shown = [(float(done.values[name]), done.chosen_by, done.steps) for done in found if done.chosen_by is not None]
    for order, steps in enumerate(budgets := sorted({steps for *_, steps in shown}), 1):
        points = [(value, score) for value, score, own in shown if own == steps]
        label = f"{steps:,} steps" if steps else None
        axis.plot(*zip(*points, strict=True), "o", color="tab:blue", alpha=order / len(budgets), label=label)
    values = [value for value, *_ in shown]
    if values and min(values) > 0 and max(values) > _WIDE * min(values):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")  # matplotlib's own is a formula
        axis.xaxis.set_minor_formatter("")
    if len(budgets) > 1:
        axis.legend(fontsize="small")
    axis.set(xlabel=drawable(name.rpartition(".")[2]), ylabel=f"{metric}, validation")
