"""All steps at once: how many iterations Newton's method takes, beside the largest Lyapunov exponent."""

import functools

import jax
from jax import Array

from rnnlab.cells import Cell, Params, find_cell
from rnnlab.flow_lab.learner import Figures, Setting, layer_params, program_of
from rnnlab.gradient_flow import lyapunov_exponents
from rnnlab.scans import Newton, Report, newton_scan
from rnnlab.scans.newton import JACOBIANS

PATIENCE = 4  # iterations that are allowed: a fourth of the steps, beyond which nothing is gained
KINDS = JACOBIANS[1:]  # full, diagonal


def at_start(cell: Cell, params: Params, inputs: Array) -> Figures:
    """`exponent`, and for the full Jacobian and its diagonal `iterations_*`, and `solved_*` within T / 4 of them.

    Predictability decides how fast it converges: Gonzalez et al. 2025, arXiv 2508.16817.
    """
    lag = len(inputs)
    figures = [(lag, "exponent", exponent(cell, params, inputs))]
    for jacobian in KINDS:
        report = _solve(cell, params, inputs, None, jacobian)
        figures.append((lag, f"iterations_{jacobian}", float(report.iterations)))
        figures.append((lag, f"solved_{jacobian}", float(report.converged)))
    return figures


def in_training(setting: Setting, seed: int) -> Figures:
    """Figures by training step, on sequences of the test split, for the full Jacobian and its diagonal.

    `exponent`; `iterations_*` from nothing, and `warm_*` one training step later from the states of the step before;
    `solved_*`, both within T / 4 iterations.
    """
    program, cell = program_of(setting), find_cell(setting.cell)
    state, key = program.start(seed), jax.random.key(seed)
    figures: Figures = []
    for step in range(0, setting.steps + 1, setting.measure_every):
        if step:
            state, _ = program.advance(state, key, setting.measure_every)
        now, after = (layer_params(of.params) for of in (state, program.advance(state, key, 1)[0]))
        figures.append((step, "exponent", exponent(cell, now, program.probe)))
        for jacobian in KINDS:
            cold = _solve(cell, now, program.probe, None, jacobian)
            warm = _solve(cell, after, program.probe, cold.states, jacobian)
            figures += [
                (step, f"iterations_{jacobian}", float(cold.iterations)),
                (step, f"warm_{jacobian}", float(warm.iterations)),
                (step, f"solved_{jacobian}", float(cold.converged & warm.converged)),
            ]
    return figures


def exponent(cell: Cell, params: Params, inputs: Array) -> float:
    """The largest Lyapunov exponent, nats a step, mean over sequences; a fourth of the steps to settle."""
    return float(lyapunov_exponents(cell, params, inputs, exponents=1, burn_in=len(inputs) // 4).mean())


@functools.partial(jax.jit, static_argnums=(0, 4))
def _solve(cell: Cell, params: Params, inputs: Array, guess: tuple[Array, ...] | None, jacobian: str) -> Report:
    newton = Newton(jacobian, iterations=max(1, len(inputs) // PATIENCE))
    return newton_scan(cell, params, inputs, newton=newton, guess=guess)[2]
