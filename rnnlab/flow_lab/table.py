"""Queries on the rows of a run, and their curves."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from ml_collections import ConfigDict

from rnnlab.flow_lab.config import read_task
from rnnlab.flow_lab.results import Row, Unit


class Table:
    """The rows of a run, with queries."""

    def __init__(self, rows: Iterable[Row], config: ConfigDict):
        self.rows, self.config = list(rows), config

    def of(self, study: str, quantity: str, **unit) -> list[Row]:
        """Returns the rows of a quantity with these values of the unit."""
        return [
            row
            for row in self.rows
            if row.unit.study == study
            and row.quantity == quantity
            and all(getattr(row.unit, name) == value for name, value in unit.items())
        ]

    def values(self, study: str, quantity: str, **unit) -> list[float]:
        """Returns the values of these rows."""
        return [row.value for row in self.of(study, quantity, **unit)]

    def last(self, study: str, quantity: str, **unit) -> list[float]:
        """Returns the value of the last step of each unit."""
        newest: dict[Unit, Row] = {}
        for row in self.of(study, quantity, **unit):
            if row.unit not in newest or row.step >= newest[row.unit].step:
                newest[row.unit] = row
        return [row.value for row in newest.values()]

    def different(self, study: str, field: str, **unit) -> list:
        """Returns the different values of a field of the unit, in the order of the rows."""
        chosen = (r.unit for r in self.rows if r.unit.study == study)
        return list(
            dict.fromkeys(
                getattr(u, field) for u in chosen if all(getattr(u, name) == value for name, value in unit.items())
            )
        )

    def floor(self, grid: str, lag: int) -> float:
        """Returns the loss of the best model without memory."""
        return read_task(self.config[grid].task, where=f"{grid}.task")(lag).floor


def held(rows: list[Row]) -> list[Row]:
    """Extends the rows: an ended run keeps its last value at the later steps of the others."""
    steps = sorted({row.step for row in rows})
    found = []
    for unit in dict.fromkeys(row.unit for row in rows):
        own = [row for row in rows if row.unit == unit]
        last = max(own, key=lambda row: row.step)
        found += own + [last._replace(step=step) for step in steps if step > last.step]
    return found


def draw_curve(axes: Axes, rows: list[Row], label: str, **style) -> None:
    """Plots the mean over seeds at each step, and their range as a band."""
    by_step: dict[int, list[float]] = {}
    for row in rows:
        by_step.setdefault(row.step, []).append(row.value)
    steps = sorted(by_step)
    line = axes.plot(steps, [np.mean(by_step[s]) for s in steps], label=label, **style)[0]
    low, high = ([pick(by_step[s]) for s in steps] for pick in (min, max))
    axes.fill_between(steps, low, high, alpha=0.15, color=line.get_color(), linewidth=0)


def length_ticks(axes: Axes, lengths: Iterable[int]) -> None:
    """Makes the axis of T logarithmic, with ticks only at these lengths."""
    ticks = sorted(set(lengths))
    axes.set_xscale("log")
    axes.set_xticks(ticks, labels=[str(length) for length in ticks])
    axes.set_xticks([], minor=True)
