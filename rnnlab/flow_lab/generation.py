"""An autoregressive network: trained to predict the next value of a sequence, then fed its own output and noise.

Every step waits for the output of the one before, not only for its state. Gonzalez et al. 2024 (arXiv 2407.19115) have
a GRU of this kind on which Newton's method with the diagonal Jacobian is slower than the sequential loop.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State, find_cell
from rnnlab.flow_lab import newton
from rnnlab.flow_lab.runs import Figures, LagRun, Setting, layer_params, longest_call
from rnnlab.scans import Newton, newton_scan, scan
from rnnlab.timing import time_in_turn
from rnnlab.training.loop import Diverged

TASKS = ("wave",)  # tasks in which the output at a step is the input of the next
WAYS = ("full", "diagonal", "chunks")  # full and diagonal Jacobian within T / 4 iterations; full, by the task's length
_TOLERANCE = 1e-5  # with exponents near 0, rounding alone was found to move the states by up to this
LONGER = 20  # generated length, in training lengths
_REPEATS = 3


def autoregressive(cell: Cell) -> Cell:
    """Makes the cell whose input is a readout of its last `h` plus the remaining input, the noise.

    For `Cell.split_gates` the readout is a product with `h` that is part of `a`, so it becomes an additional gate.

    Raises:
      ValueError: a cell without a dense `R`, or whose `combine` reads `R` or `b` itself.
    """
    if cell.reads_params or cell.recurrence != "dense":
        raise ValueError(
            f"cell {cell.name!r} cannot be autoregressive; that needs a dense R and b, neither read by combine"
        )
    fed_back = tuple(f"{gate} fed back" for gate in cell.split_gates)
    return dataclasses.replace(
        cell,
        name=f"{cell.name}, autoregressive",
        gates=cell.gates + fed_back,
        combine=functools.partial(_combine_fed_back, cell=cell),
        split_gates=cell.split_gates + fed_back,
    )


def _combine_fed_back(params: Params, state: State, a: Array, r: Array, *, cell: Cell) -> State:
    hidden = state[0].shape[-1]
    joint, own = hidden * (len(cell.gates) - len(cell.split_gates)), hidden * len(cell.gates)
    read = jnp.concatenate([a[..., :joint], a[..., joint:own] + r[..., own:]], axis=-1)
    return cell.combine(params, state, read, r[..., :own])


def fold(cell: Cell, params: Params, kernel: Array, bias: Array) -> Params:
    """Makes the parameters of `autoregressive(cell)` from those of the cell and its readout `[hidden, in]`, `[in]`."""
    hidden = cell.features(params)
    joint = hidden * (len(cell.gates) - len(cell.split_gates))
    weights, recurrent = params["W"], params["R"]
    fed_back = kernel @ weights
    none = jnp.zeros_like(weights[:, joint:])
    return params | {
        "W": jnp.concatenate([weights, none], axis=1),
        "R": jnp.concatenate(
            [recurrent[:, :joint] + fed_back[:, :joint], recurrent[:, joint:], fed_back[:, joint:]], axis=1
        ),
        "b": jnp.concatenate([params["b"] + bias @ weights, none[0]]),
    }


def generate(setting: Setting, seed: int, folder: pathlib.Path) -> Figures:
    """Measures a trained network that generates a sequence of 20 times the length of the task, with noise of the size
    of its error: `loss` of the network and the `floor` without memory; `exponent`; `seconds_*` of the sequential loop
    and of Newton's method in the three ways of `WAYS`, the best of three forward passes, with their `iterations_*` and
    `solved_*`.
    """
    with LagRun(dataclasses.replace(setting, solved=0.0), seed, folder, call=longest_call(setting)) as run:
        try:
            run.to_the_end()
        except Diverged:
            return [(run.step, "diverged", 1.0)]
        best, scores = run.best()
        floor = run.task.problem.floor
    cell, loss = find_cell(setting.cell), float(scores["loss"])
    readout = (best[f"output/{name}"] for name in ("kernel", "bias"))
    cell, params = autoregressive(cell), fold(cell, layer_params(best), *readout)
    noise = jnp.sqrt(loss) * jax.random.normal(jax.random.key(seed), (LONGER * setting.lag, 1, 1))
    seconds, _ = _best_time(functools.partial(scan, cell, method="sequential"), params, noise)
    figures = [
        ("loss", loss),
        ("floor", floor),
        ("exponent", newton.exponent(cell, params, noise)),
        ("seconds_sequential", seconds),
    ]
    for name, method in _ways(setting.lag).items():
        seconds, (_, _, report) = _best_time(functools.partial(newton_scan, cell, newton=method), params, noise)
        figures.append((f"seconds_{name}", seconds))
        figures.append((f"iterations_{name}", float(report.iterations)))
        figures.append((f"solved_{name}", float(report.converged)))
    return [(setting.steps, name, value) for name, value in figures]


def _ways(lag: int) -> dict[str, Newton]:
    limit = LONGER * lag // newton.PATIENCE
    full = Newton("full", iterations=limit, tolerance=_TOLERANCE)
    chunks = dataclasses.replace(full, chunk=lag, iterations=lag)
    return dict(zip(WAYS, (full, dataclasses.replace(full, jacobian="diagonal"), chunks), strict=True))


def _best_time(function: Callable[[Params, Array], Any], params: Params, inputs: Array) -> tuple[float, Any]:
    """Returns the minimum seconds of a compiled call, and its result."""
    function = jax.jit(function)
    result = function(params, inputs)
    times = time_in_turn({0: lambda: jax.block_until_ready(function(params, inputs))}, repeats=_REPEATS)
    return times[0].best, result
