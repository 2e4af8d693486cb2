"""Parallel in time: the number of iterations of Newton's method, against the largest Lyapunov exponent."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator

import jax
from jax import Array

from rnnlab.cells import Cell, Params, find_cell
from rnnlab.flow_lab.runs import Figures, LagRun, Setting
from rnnlab.gradient_flow import lyapunov_exponents
from rnnlab.scans import Newton, Report, newton_scan
from rnnlab.scans.newton import JACOBIANS
from rnnlab.training.loop import Diverged

PATIENCE = 4  # steps over the maximum of iterations, beyond which nothing is gained
KINDS = JACOBIANS[1:]  # full, diagonal


def at_start(cell: Cell, params: Params, inputs: Array) -> Figures:
    """Measures `exponent`, and for the full and the diagonal Jacobian `iterations_*`, and `solved_*` within T / 4.

    Predictability decides how fast it converges: Gonzalez et al. 2025, arXiv 2508.16817.
    """
    lag = len(inputs)
    figures = [(lag, "exponent", exponent(cell, params, inputs))]
    for jacobian in KINDS:
        report = _solve(cell, params, inputs, None, jacobian)
        figures.append((lag, f"iterations_{jacobian}", float(report.iterations)))
        figures.append((lag, f"solved_{jacobian}", float(report.converged)))
    return figures


def in_training(setting: Setting, seed: int, folder: pathlib.Path) -> Figures:
    """Measures by training step, on sequences of the validation split, for the full and the diagonal Jacobian.

    `exponent`; `iterations_*` without a guess, and `warm_*` one training step later from the states of the step before;
    `solved_*`, both within T / 4 iterations. A training run that diverges ends with `diverged`.
    """
    figures: Figures = []
    one_more = dataclasses.replace(setting, steps=setting.steps + 1, solved=0.0)
    with LagRun(one_more, seed, folder, call=1, scored_every=one_more.steps) as run:
        try:
            for step in range(0, setting.steps + 1, setting.measure_every):
                run.until(step)
                now = jax.device_get(run.layer)  # the next step donates these arrays
                run.until(step + 1)
                figures += [(step, name, value) for name, value in _both_ways(setting, now, run.layer, run.probe)]
        except Diverged:
            figures.append((run.step, "diverged", 1.0))
    return figures


def _both_ways(setting: Setting, now: Params, after: Params, inputs: Array) -> Iterator[tuple[str, float]]:
    """Measures parameters and those one training step later."""
    cell = find_cell(setting.cell)
    yield "exponent", exponent(cell, now, inputs)
    for jacobian in KINDS:
        cold = _solve(cell, now, inputs, None, jacobian)
        warm = _solve(cell, after, inputs, cold.states, jacobian)
        yield f"iterations_{jacobian}", float(cold.iterations)
        yield f"warm_{jacobian}", float(warm.iterations)
        yield f"solved_{jacobian}", float(cold.converged & warm.converged)


def exponent(cell: Cell, params: Params, inputs: Array) -> float:
    """Returns the largest Lyapunov exponent, nats per step, mean over sequences; burn-in: a fourth of the steps."""
    return float(lyapunov_exponents(cell, params, inputs, exponents=1, burn_in=len(inputs) // 4).mean())


@functools.partial(jax.jit, static_argnums=(0, 4))
def _solve(cell: Cell, params: Params, inputs: Array, guess: tuple[Array, ...] | None, jacobian: str) -> Report:
    newton = Newton(jacobian, iterations=max(1, len(inputs) // PATIENCE))
    return newton_scan(cell, params, inputs, newton=newton, guess=guess)[2]
