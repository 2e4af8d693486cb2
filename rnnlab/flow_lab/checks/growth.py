"""Checks and figures on the growth of gradients: eigenvalues, singular values, the norm of a step."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.table import Table, draw_curve
from rnnlab.flow_lab.verdicts import Check, always, below

_RATE = 0.03  # nats per step: tolerance between a growth and that of the eigenvalue


def check_multiplication(table: Table) -> list[Check]:
    """Checks that a linear cell's gradient grows as the largest eigenvalue of R says."""
    found = []
    for name in table.different("criterion", "intervention", cell="linear"):
        growth, eigenvalue = (
            np.array(table.values("criterion", quantity, cell="linear", intervention=name))
            for quantity in ("growth", "log_eigenvalue")
        )
        label = f"R {name}: distance of the growth ({growth.mean():+.3f} nats per step) from log |largest eigenvalue|"
        found.append(below(label, intervals.mean(abs(growth - eigenvalue)), _RATE))
    return found


def draw_multiplication(table: Table, axes: Axes) -> None:
    """Plots the log norm of the Jacobian over a lag."""
    for name in table.different("criterion", "intervention", cell="linear"):
        draw_curve(axes, table.of("criterion", "log_norm", cell="linear", intervention=name), name)
    axes.set(xlabel="lag, steps", ylabel="log norm of dh_T / dh_(T-lag), nats")


def check_criterion(table: Table) -> list[Check]:
    """Checks that the largest singular value of R tells whether the gradient vanishes or explodes."""
    found = []
    for cell in table.different("criterion", "cell"):
        growth = np.array(table.values("criterion", "growth", cell=cell))
        singular = np.array(table.values("criterion", "log_singular_value", cell=cell))
        found += _signs(f"{cell}, largest singular value", singular, growth, bound=1)
    return found


def draw_criterion(table: Table, axes: Axes) -> None:
    """Plots growth against the log of the singular value."""
    for cell in table.different("criterion", "cell"):
        singular = table.values("criterion", "log_singular_value", cell=cell)
        axes.scatter(singular, table.values("criterion", "growth", cell=cell), s=14, label=cell)
    axes.axline((0, 0), slope=1, color="gray", linewidth=0.8, label="growth = log singular value")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="log of the largest singular value of R", ylabel="growth of dh_T / dh_0, nats per step")


def check_derivative(table: Table) -> list[Check]:
    """Checks the same for the norm of a whole step, with the derivative of the activation."""
    growth = np.array(table.values("criterion", "growth", cell="rnn"))
    singular = np.array(table.values("criterion", "log_singular_value", cell="rnn"))
    step = np.array(table.values("criterion", "step_norm", cell="rnn"))
    bounded = always("a step's norm, including tanh', is at most that of R", step <= singular)
    return [bounded, *_signs("mean log norm of a step", step, growth, bound=0)]


def draw_derivative(table: Table, axes: Axes) -> None:
    """Plots growth against the log norm of R and of a step."""
    for quantity, label in (("log_singular_value", "R alone"), ("step_norm", "R with the derivative of tanh")):
        axes.scatter(
            table.values("criterion", quantity, cell="rnn"),
            table.values("criterion", "growth", cell="rnn"),
            s=14,
            label=label,
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="log of the largest singular value of a step", ylabel="growth of dh_T / dh_0, nats per step")


def _signs(what: str, log_factor: np.ndarray, growth: np.ndarray, *, bound: int) -> list[Check]:
    """Checks that a gradient vanishes if the log of a factor is below 0, and explodes if it is above."""
    cases = (("below", "vanishes", log_factor < 0, growth < 0), ("above", "explodes", log_factor > 0, growth > 0))
    return [
        always(f"{what} {side} {bound}: {fate}", hits[chosen]) for side, fate, chosen, hits in cases if chosen.any()
    ]
