"""Checks and figures on gated cells beside the vanilla RNN."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.cells import find_cell
from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.results import Unit
from rnnlab.flow_lab.table import Table, draw_curve, held, length_ticks
from rnnlab.flow_lab.verdicts import Check, above, below

_HIGHWAY = -0.01  # nats per step: a gradient that keeps a third of its size over a hundred steps
_NEAR_FLOOR = 0.9  # share of the floor at or above which nothing was learnt


def check_gates(table: Table) -> list[Check]:
    """Checks that the gradient of gated cells vanishes more slowly than the vanilla RNN's."""
    lag = table.config.flow.lag
    plain = np.array(table.last("flow", "log_norm", cell="rnn", intervention="default"))
    found = []
    for cell in table.different("flow", "cell"):
        for name in table.different("flow", "intervention", cell=cell):
            norms = np.array(table.last("flow", "log_norm", cell=cell, intervention=name))
            if find_cell(cell).memory_gates and len(plain) == len(norms):
                label = f"{cell} {name}: growth of dh_T / dh_0 ({norms.mean() / lag:+.4f} nats per step) minus rnn's"
                found.append(above(label, intervals.mean((norms - plain) / lag), 0.0))
    return found


def draw_gates(table: Table, axes: Axes) -> None:
    """Plots the log norm of the Jacobian over a lag."""
    for cell in table.different("flow", "cell"):
        for name, style in (("default", "-"), ("chrono", "--")):
            if rows := table.of("flow", "log_norm", cell=cell, intervention=name):
                draw_curve(axes, rows, f"{cell}, {name}", linestyle=style)
    axes.set(xlabel="lag, steps", ylabel="log norm of dh_T / dh_(T-lag), nats", xscale="log", yscale="symlog")


def check_highway(table: Table) -> list[Check]:
    """Checks that dc_T / dc_0 of an LSTM keeps its size, and is the product of forget gates."""
    lag = table.config.flow.lag
    found = []
    for name in table.different("flow", "intervention", cell="lstm"):
        cell_state, forget = (
            np.array(table.last("flow", quantity, cell="lstm", intervention=name)) / lag
            for quantity in ("log_norm_c", "log_forget")
        )
        found.append(above(f"lstm {name}: growth of dc_T / dc_0, nats per step", intervals.mean(cell_state), _HIGHWAY))
        label = f"lstm {name}: distance of that from the growth of the largest product of forget gates"
        found.append(below(label, intervals.mean(abs(cell_state - forget)), -_HIGHWAY))
    return found


def draw_highway(table: Table, axes: Axes) -> None:
    """Plots both over a lag."""
    for name in table.different("flow", "intervention", cell="lstm"):
        draw_curve(axes, table.of("flow", "log_norm_c", cell="lstm", intervention=name), f"dc_T / dc, {name}")
        rows = table.of("flow", "log_forget", cell="lstm", intervention=name)
        draw_curve(axes, rows, f"forget gates, {name}", linestyle="--", color=axes.lines[-1].get_color())
    axes.set(xlabel="lag, steps", ylabel="log, nats")


def check_gated(table: Table) -> list[Check]:
    """Checks that gated cells solve the task and that the vanilla RNN learns nothing."""
    found = []
    for lag in table.different("reach", "lag"):
        floor = table.floor("reach", lag)
        for cell in table.different("reach", "cell", lag=lag):
            loss = intervals.mean(table.values("reach", "final_loss", cell=cell, lag=lag))
            if find_cell(cell).memory_gates:
                found.append(below(f"{cell}, T = {lag}: test loss", loss, table.config.reach.solved))
            else:
                label = f"{cell}, T = {lag}: test loss (near the floor, nothing is learnt)"
                found.append(above(label, loss, _NEAR_FLOOR * floor))
    return found


def draw_gated(table: Table, axes: Axes) -> None:
    """Plots the validation loss over training."""
    lag = max(table.different("reach", "lag"))
    for cell in table.different("reach", "cell", lag=lag):
        draw_curve(axes, held(table.of("reach", "validation_loss", cell=cell, lag=lag)), f"{cell}, T = {lag}")
    axes.axhline(table.floor("reach", lag), color="gray", linewidth=0.8, label="floor without memory")
    axes.set(xlabel="training step", ylabel="validation loss", yscale="log")


def check_as_well(table: Table) -> list[Check]:
    """Checks that a GRU costs less than an LSTM and solves as many runs."""
    found = []
    for quantity, what in (("parameters", "parameters"), ("flops_per_step", "FLOPs per step")):
        gru, lstm = (table.values("cost", quantity, cell=cell) for cell in ("gru", "lstm"))
        if gru and lstm:
            found.append(Check(f"{what} of a GRU relative to an LSTM", f"{gru[0] / lstm[0]:.3f}", gru[0] < lstm[0]))
    lengths = table.different("cost", "lag", cell="gru")
    if lengths and table.different("cost", "lag", cell="lstm"):
        times = [np.array(table.values("cost", "seconds", cell=c, lag=max(lengths))) for c in ("gru", "lstm")]
        label = f"time of a GRU relative to an LSTM, T = {max(lengths)}"
        found.append(below(label, intervals.mean(times[0] / times[1]), 1.0))
    for lag in table.different("reach", "lag"):
        solved = {cell: table.values("reach", "solved", cell=cell, lag=lag) for cell in ("gru", "lstm")}
        if all(solved.values()):
            share = {cell: intervals.share(hits) for cell, hits in solved.items()}
            label = f"T = {lag}: share of seeds that a GRU solves (an LSTM: {share['lstm'].text(2)})"
            found.append(Check(label, share["gru"].text(2), share["gru"].value >= share["lstm"].value))
    return found


def draw_as_well(table: Table, axes: Axes) -> None:
    """Plots the steps until solved against the length."""
    for cell in table.different("reach", "cell"):
        rows = [
            row._replace(step=row.unit.lag, value=_steps(table, row.unit))
            for row in table.of("reach", "solved", cell=cell)
        ]
        if reached := [row for row, hit in zip(rows, table.values("reach", "solved", cell=cell), strict=True) if hit]:
            draw_curve(axes, reached, cell, marker="o")
    axes.set(xlabel="T, steps", ylabel="training steps until solved")
    length_ticks(axes, table.different("reach", "lag"))


def _steps(table: Table, unit: Unit) -> float:
    return max(row.step for row in table.rows if row.unit == unit)
