"""Checks and figures on sequential steps, and on steps parallel in time."""

import itertools

import numpy as np
from matplotlib.axes import Axes

from rnnlab.flow_lab import generation, intervals
from rnnlab.flow_lab.newton import KINDS
from rnnlab.flow_lab.table import Table, draw_curve, length_ticks
from rnnlab.flow_lab.verdicts import Check, above, always, below

_PROPORTIONAL = 0.8  # minimum exponent of time over length that counts as proportional


def check_time(table: Table) -> list[Check]:
    """Checks that the time of the sequential method is proportional to the length."""
    found = []
    for cell in table.different("cost", "cell"):
        lengths = np.array(table.different("cost", "lag", cell=cell))
        if len(lengths) > 1:
            times = np.array([table.values("cost", "seconds", cell=cell, lag=int(length)) for length in lengths])
            slopes = np.polyfit(np.log(lengths), np.log(times), 1)[0]
            found.append(
                above(f"{cell}: exponent of time over length, sequential", intervals.mean(slopes), _PROPORTIONAL)
            )
    return found


def draw_time(table: Table, axes: Axes) -> None:
    """Plots seconds against length."""
    for cell in table.different("cost", "cell"):
        rows = [row._replace(step=row.unit.lag) for row in table.of("cost", "seconds", cell=cell)]
        draw_curve(axes, rows, cell, marker="o")
    axes.set(xlabel="T, steps", ylabel="seconds, forward and backward", yscale="log")
    length_ticks(axes, table.different("cost", "lag"))


def check_newton(table: Table) -> list[Check]:
    """Checks that steps cannot be solved in parallel, both if neighbouring states converge and if they diverge."""
    found = []
    for cell in table.different("newton", "cell"):
        exponent = np.array(table.values("newton", "exponent", cell=cell))
        unsolved = np.array(table.values("newton", "solved_full", cell=cell)) == 0
        for side, chosen in (("below", exponent < 0), ("above", exponent > 0)):
            if chosen.any():
                found.append(always(f"{cell}, exponent {side} 0: not within T / 4 iterations", unsolved[chosen]))
    return found


def draw_newton(table: Table, axes: Axes) -> None:
    """Plots iterations against the exponent; a cross is a case that was not solved."""
    for cell in table.different("newton", "cell"):
        for jacobian, marker in zip(KINDS, "o^", strict=True):
            exponent, iterations, solved = (
                np.array(table.values("newton", name, cell=cell))
                for name in ("exponent", f"iterations_{jacobian}", f"solved_{jacobian}")
            )
            points = axes.scatter(
                exponent[solved == 1], iterations[solved == 1], s=14, marker=marker, label=f"{cell}, {jacobian}"
            )
            color = points.get_facecolor()[:1]
            axes.scatter(exponent[solved == 0], iterations[solved == 0], s=20, marker="x", color=color)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="largest Lyapunov exponent, nats per step (x: not solved)", ylabel="iterations")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:.0f}")


def check_warm(table: Table) -> list[Check]:
    """Checks that steps stay solvable in parallel during training, from the states of the step before even faster."""
    found = []
    for cell, kind in itertools.product(table.different("warm", "cell"), KINDS):
        solved = np.array(table.values("warm", f"solved_{kind}", cell=cell))
        found.append(always(f"{cell}, {kind}: within T / 4 iterations at every measurement", solved))
        cold, warm = (np.array(table.values("warm", f"{name}_{kind}", cell=cell)) for name in ("iterations", "warm"))
        label = f"{cell}, {kind}: iterations from the states of the step before, relative to those without a guess"
        found.append(below(label, intervals.mean(warm / cold), 1))
    return found


def draw_warm(table: Table, axes: Axes) -> None:
    """Plots iterations against training steps, with the full Jacobian."""
    for cell in table.different("warm", "cell"):
        draw_curve(axes, table.of("warm", "iterations_full", cell=cell), f"{cell}, without a guess")
        rows, color = table.of("warm", "warm_full", cell=cell), axes.lines[-1].get_color()
        draw_curve(axes, rows, f"{cell}, from the step before", linestyle="--", color=color)
    axes.set(xlabel="training step", ylabel="iterations, full Jacobian", ylim=(0, None))


def check_generation(table: Table) -> list[Check]:
    """Checks that no method that is parallel in time is as fast as the sequential loop."""
    found = []
    for cell, lag, way in itertools.product(
        table.different("generation", "cell"), table.different("generation", "lag"), generation.WAYS
    ):
        together, one_by_one, iterations, solved = (
            np.array(table.values("generation", quantity, cell=cell, lag=lag))
            for quantity in (f"seconds_{way}", "seconds_sequential", f"iterations_{way}", f"solved_{way}")
        )
        if len(together):
            label = (
                f"{cell}, learnt from T = {lag}, {way} ({solved.sum():.0f} of {len(solved)} solved, "
                f"{iterations.min():.0f} to {iterations.max():.0f} iterations): time relative to the sequential loop"
            )
            found.append(above(label, intervals.geometric_mean(together / one_by_one), 1))
    return found


def draw_generation(table: Table, axes: Axes) -> None:
    """Plots seconds against length; a cross is a case that was not solved."""
    lengths = [generation.LONGER * lag for lag in table.different("generation", "lag")]
    for cell, way in itertools.product(table.different("generation", "cell"), ("sequential", *generation.WAYS)):
        rows = table.of("generation", f"seconds_{way}", cell=cell)
        rows = [row._replace(step=generation.LONGER * row.unit.lag) for row in rows]
        draw_curve(axes, rows, f"{cell}, {way}", marker="o")
        failed = {row.unit for row in table.of("generation", f"solved_{way}", cell=cell) if not row.value}
        unsolved = [row for row in rows if row.unit in failed]
        axes.scatter([row.step for row in unsolved], [row.value for row in unsolved], marker="x", color="black")
    axes.set(xlabel="T, steps (x: not solved)", ylabel="seconds, forward", xscale="log", yscale="log")
    axes.set_xticks(lengths, labels=[str(length) for length in lengths])
    axes.set_xticks([], minor=True)
