"""Checks and figures on weights that are the same at every step."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.table import Table, draw_curve, length_ticks
from rnnlab.flow_lab.verdicts import MOST, Check, above

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
    length_ticks(axes, table.different("reach", "lag"))


def check_any_length(table: Table) -> list[Check]:
    """Checks that most networks keep what they learnt at lengths that they were not trained at."""
    found = []
    for trained, cell in (
        (t, c) for t in table.different("lengths", "lag") for c in table.different("lengths", "cell")
    ):
        rows = table.of("lengths", "loss", cell=cell, lag=trained)
        for length in sorted({row.step for row in rows}):
            losses = [row.value for row in rows if row.step == length]
            bound = _REMEMBERED * table.floor("lengths", length)
            kept = intervals.share([loss < bound for loss in losses])
            label = f"{cell}, trained at T = {trained}, read at T = {length}: share of runs with a test loss below "
            found.append(above(f"{label}{bound:.3g} (median {np.median(losses):.3g})", kept, MOST))
    return found


def draw_any_length(table: Table, axes: Axes) -> None:
    """Plots the test loss against the length."""
    for cell in table.different("lengths", "cell"):
        draw_curve(axes, table.of("lengths", "loss", cell=cell), cell, marker="o")
    for lag in table.different("lengths", "lag"):
        axes.axhline(table.floor("lengths", lag), color="gray", linewidth=0.8, label="floor without memory")
    axes.set(xlabel="T, steps", ylabel="test loss", yscale="log")
    length_ticks(axes, (row.step for row in table.of("lengths", "loss")))
