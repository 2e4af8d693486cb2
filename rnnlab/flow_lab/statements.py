"""The statements of the tutorial, each with the rows that test it and the rules for its verdict."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from rnnlab.cells import find_cell
from rnnlab.flow_lab import intervals, parallel
from rnnlab.flow_lab.results import Unit
from rnnlab.flow_lab.table import Table, draw_curve, held, length_ticks
from rnnlab.flow_lab.verdicts import Check, Finding, above, always, below

_RATE = 0.03  # nats per step: tolerance between a growth and that of the eigenvalue
_HIGHWAY = -0.01  # nats per step: a gradient that keeps a third of its size over a hundred steps
_GAIN = 0.1  # share of the floor by which a loss must fall for an intervention to have helped
_NEAR_FLOOR = 0.9  # share of the floor at or above which nothing was learnt
_MOST = 0.5  # share of runs above which it is most of them


class _Statement(NamedTuple):
    study: str
    statement: str
    experiment: str
    checks: Callable[[Table], list[Check]]
    draw: Callable[[Table, Axes], None]


def judge(table: Table) -> list[Finding]:
    """Judges every statement for which the rows have checks."""
    found = []
    for name, s in STATEMENTS.items():
        if table.different(s.study, "cell"):
            experiment = s.experiment.format(task=_task(table, s.study))
            found.append(Finding(name, s.statement, experiment, s.checks(table), functools.partial(s.draw, table)))
    return [finding for finding in found if finding.checks]


def _task(table: Table, study: str) -> str:
    """Returns the problem of the training runs of a study; empty if it has no runs."""
    return table.config[study].get("task", "")


def _multiplication(table: Table) -> list[Check]:
    found = []
    for name in table.different("criterion", "intervention", cell="linear"):
        growth, eigenvalue = (
            np.array(table.values("criterion", quantity, cell="linear", intervention=name))
            for quantity in ("growth", "log_eigenvalue")
        )
        label = f"R {name}: distance of the growth ({growth.mean():+.3f} nats per step) from log |largest eigenvalue|"
        found.append(below(label, intervals.mean(abs(growth - eigenvalue)), _RATE))
    return found


def _draw_multiplication(table: Table, axes: Axes) -> None:
    for name in table.different("criterion", "intervention", cell="linear"):
        draw_curve(axes, table.of("criterion", "log_norm", cell="linear", intervention=name), name)
    axes.set(xlabel="lag, steps", ylabel="log norm of dh_T / dh_(T-lag), nats")


def _criterion(table: Table) -> list[Check]:
    found = []
    for cell in table.different("criterion", "cell"):
        growth = np.array(table.values("criterion", "growth", cell=cell))
        singular = np.array(table.values("criterion", "log_singular_value", cell=cell))
        found += _signs(f"{cell}, largest singular value", singular, growth, bound=1)
    return found


def _signs(what: str, log_factor: np.ndarray, growth: np.ndarray, *, bound: int) -> list[Check]:
    """Checks that a gradient vanishes if the log of a factor is below 0, and explodes if it is above."""
    cases = (("below", "vanishes", log_factor < 0, growth < 0), ("above", "explodes", log_factor > 0, growth > 0))
    return [
        always(f"{what} {side} {bound}: {fate}", hits[chosen]) for side, fate, chosen, hits in cases if chosen.any()
    ]


def _draw_criterion(table: Table, axes: Axes) -> None:
    for cell in table.different("criterion", "cell"):
        singular = table.values("criterion", "log_singular_value", cell=cell)
        axes.scatter(singular, table.values("criterion", "growth", cell=cell), s=14, label=cell)
    axes.axline((0, 0), slope=1, color="gray", linewidth=0.8, label="growth = log singular value")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="log of the largest singular value of R", ylabel="growth of dh_T / dh_0, nats per step")


def _derivative(table: Table) -> list[Check]:
    growth = np.array(table.values("criterion", "growth", cell="rnn"))
    singular = np.array(table.values("criterion", "log_singular_value", cell="rnn"))
    step = np.array(table.values("criterion", "step_norm", cell="rnn"))
    bounded = always("a step's norm, including tanh', is at most that of R", step <= singular)
    return [bounded, *_signs("mean log norm of a step", step, growth, bound=0)]


def _draw_derivative(table: Table, axes: Axes) -> None:
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


def _explosion(table: Table) -> list[Check]:
    found = []
    for lag in table.different("explosion", "lag"):
        without = intervals.share([not d for d in table.values("explosion", "diverged", clipping="none", lag=lag)])
        for clipping in table.different("explosion", "clipping"):
            if clipping == "none":
                continue
            finite = [not d for d in table.values("explosion", "diverged", clipping=clipping, lag=lag)]
            label = f"{clipping}, T = {lag}: share of runs that stay finite; without clipping: {without.text(2)}"
            found.append(above(label, intervals.share(finite), _MOST))
            losses = intervals.mean(table.values("explosion", "final_loss", clipping=clipping, lag=lag))
            found.append(below(f"{clipping}, T = {lag}: loss learnt", losses, table.floor("explosion", lag)))
    return found


def _draw_explosion(table: Table, axes: Axes) -> None:
    for clipping in table.different("explosion", "clipping"):
        draw_curve(axes, table.of("explosion", "gradient_norm", clipping=clipping), clipping)
    axes.set(xlabel="training step", ylabel="largest gradient norm of 50 steps", yscale="log")


def _vanishing(table: Table) -> list[Check]:
    found = []
    for lag in table.different("vanishing", "lag"):
        floor = table.floor("vanishing", lag)
        without = np.array(table.values("vanishing", "final_loss", clipping="none", lag=lag))
        for clipping in table.different("vanishing", "clipping"):
            if clipping != "none":
                with_it = np.array(table.values("vanishing", "final_loss", clipping=clipping, lag=lag))
                if len(with_it) != len(without):  # nothing to compare it with
                    continue
                gain = intervals.mean((without - with_it) / floor)
                label = f"{clipping}, T = {lag}: reduction of the loss against no clipping, relative to the floor"
                found.append(above(label, gain, _GAIN))
    return found


def _draw_vanishing(table: Table, axes: Axes) -> None:
    for lag in table.different("vanishing", "lag"):
        for clipping in table.different("vanishing", "clipping"):
            draw_curve(axes, table.of("vanishing", "early_share", clipping=clipping, lag=lag), f"{clipping}, T = {lag}")
    axes.set(xlabel="training step", ylabel="share of |dL/dx| in the first half", yscale="log")


def _gates(table: Table) -> list[Check]:
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


def _draw_gates(table: Table, axes: Axes) -> None:
    for cell in table.different("flow", "cell"):
        for name, style in (("default", "-"), ("chrono", "--")):
            if rows := table.of("flow", "log_norm", cell=cell, intervention=name):
                draw_curve(axes, rows, f"{cell}, {name}", linestyle=style)
    axes.set(xlabel="lag, steps", ylabel="log norm of dh_T / dh_(T-lag), nats", xscale="log", yscale="symlog")


def _highway(table: Table) -> list[Check]:
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


def _draw_highway(table: Table, axes: Axes) -> None:
    for name in table.different("flow", "intervention", cell="lstm"):
        draw_curve(axes, table.of("flow", "log_norm_c", cell="lstm", intervention=name), f"dc_T / dc, {name}")
        rows = table.of("flow", "log_forget", cell="lstm", intervention=name)
        draw_curve(axes, rows, f"forget gates, {name}", linestyle="--", color=axes.lines[-1].get_color())
    axes.set(xlabel="lag, steps", ylabel="log, nats")


def _gated(table: Table) -> list[Check]:
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


def _draw_gated(table: Table, axes: Axes) -> None:
    lag = max(table.different("reach", "lag"))
    for cell in table.different("reach", "cell", lag=lag):
        draw_curve(axes, held(table.of("reach", "validation_loss", cell=cell, lag=lag)), f"{cell}, T = {lag}")
    axes.axhline(table.floor("reach", lag), color="gray", linewidth=0.8, label="floor without memory")
    axes.set(xlabel="training step", ylabel="validation loss", yscale="log")


def _as_well(table: Table) -> list[Check]:
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


def _draw_as_well(table: Table, axes: Axes) -> None:
    for cell in table.different("reach", "cell"):
        rows = [
            row._replace(step=row.unit.lag, value=_steps(table, row.unit))
            for row in table.of("reach", "solved", cell=cell)
        ]
        if reached := [row for row, hit in zip(rows, table.values("reach", "solved", cell=cell), strict=True) if hit]:
            draw_curve(axes, reached, cell, marker="o")
    axes.set(xlabel="T, steps", ylabel="training steps until solved")
    length_ticks(table, axes, "reach")


def _steps(table: Table, unit: Unit) -> float:
    return max(row.step for row in table.rows if row.unit == unit)


def _same_weights(table: Table) -> list[Check]:
    found = []
    for cell in table.different("reach", "cell"):
        sizes = set(table.values("reach", "parameters", cell=cell))
        lags = table.different("reach", "lag", cell=cell)
        found.append(
            Check(f"{cell}, T = {min(lags)} to {max(lags)}", f"{sorted(map(int, sizes))} parameters", len(sizes) == 1)
        )
    return found


def _draw_same_weights(table: Table, axes: Axes) -> None:
    for cell in table.different("reach", "cell"):
        rows = [row._replace(step=row.unit.lag) for row in table.of("reach", "parameters", cell=cell)]
        draw_curve(axes, rows, cell, marker="o")
    axes.set(xlabel="T, steps", ylabel="parameters", ylim=(0, None))
    length_ticks(table, axes, "reach")


STATEMENTS: dict[str, _Statement] = {
    "multiplication": _Statement(
        "criterion",
        "The gradient at a lag holds W_hh multiplied with itself that many times, so it grows or shrinks "
        "exponentially.",
        "A linear cell over normal inputs; growth of the norm of dh_T / dh_0 per step, against the largest eigenvalue.",
        _multiplication,
        _draw_multiplication,
    ),
    "singular_value": _Statement(
        "criterion",
        "A largest singular value of W_hh above 1 explodes the gradient, one below 1 makes it vanish.",
        "Linear and tanh cells, Gaussian and orthogonal W_hh of several gains; a case explodes if its growth is above "
        "0, vanishes if it is below.",
        _criterion,
        _draw_criterion,
    ),
    "derivative": _Statement(
        "criterion",
        "The criterion with the derivative of tanh counted: the singular value of a whole step tells which way it "
        "goes.",
        "The tanh cells of the experiment above; the mean over steps of the log norm of the step's exact Jacobian.",
        _derivative,
        _draw_derivative,
    ),
    "explosion": _Statement(
        "explosion",
        "Gradient clipping cures the exploding gradient.",
        "The problem {task}, a tanh cell whose W_hh is Gaussian with gain above 1, SGD; with and without clipping.",
        _explosion,
        _draw_explosion,
    ),
    "vanishing": _Statement(
        "vanishing",
        "Gradient clipping cures even the vanishing gradient.",
        "The problem {task}, a tanh cell whose W_hh is orthogonal with gain below 1; loss with and without clipping.",
        _vanishing,
        _draw_vanishing,
    ),
    "gates": _Statement(
        "flow",
        "Gates keep the gradient where the vanilla RNN loses it.",
        "Every untrained cell, over normal inputs: growth of the norm of dh_T / dh_0, against the tanh cell's.",
        _gates,
        _draw_gates,
    ),
    "highway": _Statement(
        "flow",
        "The cell state of an LSTM is a highway for the gradient: dc_T / dc_t is the product of the forget gates.",
        "An untrained LSTM, over normal inputs: the norm of dc_T / dc_t through every path, against the largest "
        "product of forget gates of any unit.",
        _highway,
        _draw_highway,
    ),
    "gated": _Statement(
        "reach",
        "LSTM and GRU learn over lags at which the vanilla RNN learns nothing.",
        "The problem {task} at growing T, each cell with its own learning rate from the config.",
        _gated,
        _draw_gated,
    ),
    "as_well": _Statement(
        "reach",
        "A GRU does as well as an LSTM, with less.",
        "Parameters, FLOPs and time of a layer; the lags of the problem {task} that each solves.",
        _as_well,
        _draw_as_well,
    ),
    "same_weights": _Statement(
        "reach",
        "The same weights at every step: the number of parameters does not grow with T.",
        "The parameters of every trained model.",
        _same_weights,
        _draw_same_weights,
    ),
    "sequential": _Statement(
        "cost",
        "An RNN cannot be parallelised: its time grows with T.",
        "Sequential forward and backward pass of a layer, against length.",
        parallel.check_time,
        parallel.draw_time,
    ),
    "one_by_one": _Statement(
        "newton",
        "An RNN cannot be parallelised: a step must wait for the one before.",
        "Newton's method on all T steps in parallel, for cells with Gaussian R of several gains, against the largest "
        "Lyapunov exponent; a solved case differs from the sequential loop only by rounding.",
        parallel.check_newton,
        parallel.draw_newton,
    ),
    "warm": _Statement(
        "warm",
        "Training by Newton's method: parallel in time throughout, faster from the states of the last training step.",
        "The problem {task}, trained sequentially; meanwhile Newton's method with the full and with the diagonal "
        "Jacobian, without a guess, and one training step later from the states of the step before.",
        parallel.check_warm,
        parallel.draw_warm,
    ),
    "generation": _Statement(
        "generation",
        "An autoregressive decoder, which reads its own output, must run one step after the other.",
        "A small network that learnt a noisy wave continues it for 20 times the training length, its output plus noise "
        "being its next input; forward pass by Newton's method with the full Jacobian, its diagonal, and in chunks of "
        "the training length with the full one, tolerance 1e-5, at most T / 4 iterations, against the sequential loop.",
        parallel.check_generation,
        parallel.draw_generation,
    ),
}
