"""Checks and figures on encoder-decoder models: the context vector, lengths of outputs, dropout on embeddings."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.table import Table, draw_curve
from rnnlab.flow_lab.verdicts import Check, above, below

_RIGHT = 0.9  # share of right outputs above which a model carries a source of that length
_START = "context:init"


def check_context(table: Table) -> list[Check]:
    """Checks, for each length of the source, that a context at the start alone gives right outputs."""
    found = []
    for cell in table.different("context", "cell"):
        found += _right_at_each_length(cell, _by_length(table, "context", cell, _START))
    return found


def check_more_context(table: Table) -> list[Check]:
    """Checks that no other way to pass the context gives more right outputs, over the lengths of the test split."""
    found = []
    for cell in table.different("context", "cell"):
        start = _mean_over_lengths(table, cell, _START)
        for other in table.different("context", "intervention", cell=cell):
            right = _mean_over_lengths(table, cell, other)
            if other != _START and len(right) == len(start):
                label = f"{cell}, {other} instead: gain in the share of right outputs"
                found.append(below(label, intervals.mean(right - start), 0.0))
    return found


def draw_context(table: Table, axes: Axes) -> None:
    """Plots the share of right outputs against the length of the source."""
    _draw(table, axes, "context")


def check_outputs(table: Table) -> list[Check]:
    """Checks that outputs of other lengths than their sources are right."""
    found = []
    for cell in table.different("outputs", "cell"):
        for name in table.different("outputs", "intervention", cell=cell):
            found += _right_at_each_length(f"{cell}, {name}", _by_length(table, "outputs", cell, name))
    return found


def draw_outputs(table: Table, axes: Axes) -> None:
    """Plots the share of right outputs against the length of the source."""
    _draw(table, axes, "outputs")


def check_dropout(table: Table) -> list[Check]:
    """Checks that dropout on the embeddings lowers the loss of the test split."""
    found = []
    for cell in table.different("dropout", "cell"):
        names = table.different("dropout", "intervention", cell=cell)
        without, *others = (np.array(table.values("dropout", "loss", cell=cell, intervention=n)) for n in names)
        for name, loss in zip(names[1:], others, strict=True):
            if len(loss) == len(without):
                label = f"{cell}, {name} instead of {names[0]}: difference of the test loss"
                found.append(below(label, intervals.mean(loss - without), 0.0))
    return found


def draw_dropout(table: Table, axes: Axes) -> None:
    """Plots the loss of the test split of each seed, and their mean."""
    for cell in table.different("dropout", "cell"):
        names = table.different("dropout", "intervention", cell=cell)
        for at, name in enumerate(names):
            losses = table.values("dropout", "loss", cell=cell, intervention=name)
            axes.plot([at] * len(losses), losses, "o", color="tab:blue", alpha=0.6)
            axes.plot([at - 0.2, at + 0.2], 2 * [np.mean(losses)], color="tab:orange")
        axes.set_xticks(range(len(names)), [name.partition("+")[0] for name in names])
    axes.set(ylabel="loss of the test split, nats per phone")


def _right_at_each_length(what: str, by_length: dict[int, list[float]]) -> list[Check]:
    return [
        above(f"{what}, source of {length} symbols: share of right outputs", intervals.mean(values), _RIGHT)
        for length, values in by_length.items()
    ]


def _by_length(table: Table, study: str, cell: str, intervention: str) -> dict[int, list[float]]:
    rows = table.of(study, "right", cell=cell, intervention=intervention)
    return {length: [row.value for row in rows if row.step == length] for length in sorted({row.step for row in rows})}


def _mean_over_lengths(table: Table, cell: str, intervention: str) -> np.ndarray:
    """Returns the share of right outputs of each seed, `[seeds]`."""
    by_length = list(_by_length(table, "context", cell, intervention).values())
    return np.mean(by_length, axis=0) if by_length else np.zeros(0)


def _draw(table: Table, axes: Axes, study: str) -> None:
    for cell in table.different(study, "cell"):
        for name in table.different(study, "intervention", cell=cell):
            rows = table.of(study, "right", cell=cell, intervention=name)
            draw_curve(axes, rows, f"{cell}, {name}", marker="o")
    axes.set(xlabel="symbols of the source", ylabel="share of right outputs", ylim=(-0.03, 1.03))
    axes.set_xticks(sorted({row.step for row in table.of(study, "right")}))
