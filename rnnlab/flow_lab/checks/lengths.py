"""Checks and figures on weights that are the same at every step."""

from matplotlib.axes import Axes

from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.table import Table, draw_curve, length_ticks
from rnnlab.flow_lab.verdicts import Check, below

_REMEMBERED = 0.25  # share of the floor at or below which most of a task is still solved


def check_same_weights(table: Table) -> list[Check]:
    """Checks that models for all lengths have the same number of parameters."""
    found = []
    for cell in table.different("reach", "cell"):
        sizes = set(table.values("reach", "parameters", cell=cell))
        lags = table.different("reach", "lag", cell=cell)
        found.append(
            Check(f"{cell}, T = {min(lags)} to {max(lags)}", f"{sorted(map(int, sizes))} parameters", len(sizes) == 1)
        )
    return found


def draw_same_weights(table: Table, axes: Axes) -> None:
    """Plots it against the length."""
    for cell in table.different("reach", "cell"):
        rows = [row._replace(step=row.unit.lag) for row in table.of("reach", "parameters", cell=cell)]
        draw_curve(axes, rows, cell, marker="o")
    axes.set(xlabel="T, steps", ylabel="parameters", ylim=(0, None))
    length_ticks(table, axes, "reach")


def check_any_length(table: Table) -> list[Check]:
    """Checks that a network keeps what it learnt at lengths that it was not trained at."""
    found = []
    for trained, cell in (
        (t, c) for t in table.different("lengths", "lag") for c in table.different("lengths", "cell")
    ):
        rows = table.of("lengths", "loss", cell=cell, lag=trained)
        for length in sorted({row.step for row in rows}):
            losses = intervals.mean([row.value for row in rows if row.step == length])
            bound = _REMEMBERED * table.floor("lengths", length)
            found.append(below(f"{cell}, trained at T = {trained}, read at T = {length}: test loss", losses, bound))
    return found


def draw_any_length(table: Table, axes: Axes) -> None:
    """Plots the test loss against the length."""
    for cell in table.different("lengths", "cell"):
        draw_curve(axes, table.of("lengths", "loss", cell=cell), cell, marker="o")
    for lag in table.different("lengths", "lag"):
        axes.axhline(table.floor("lengths", lag), color="gray", linewidth=0.8, label="floor without memory")
    axes.set(xlabel="T, steps", ylabel="test loss", xscale="log", yscale="log")
