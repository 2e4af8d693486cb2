"""A network that hears itself: trained to tell the next value of a sequence, then fed with what it says and noise.

Every step waits for the output of the one before, not only for its state. Gonzalez et al. 2024 (arXiv 2407.19115) have
a GRU of this kind on which Newton's method with the diagonal is slower than one step after the other.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State, find_cell
from rnnlab.flow_lab import newton
from rnnlab.flow_lab.learner import Figures, Setting, layer_params, program_of, timed
from rnnlab.scan import scan
from rnnlab.scan.entry import Method

SEQUENTIAL = "sequential"
_LONGER = 100  # times what it learnt from, that it generates
_REPEATS = 5


@functools.cache
def hearing_itself(cell: Cell) -> Cell:
    """The cell whose input is what a readout of its last `h` says, plus the input that is left, the noise.

    Where `combine` reads `a` and `r` apart, what it hears is a product with `h` that belongs to `a`: a gate of its own.

    Raises:
      ValueError: a cell without a dense `R`, or whose `combine` reads it or the bias.
    """
    if cell.reads or cell.recurrence != "dense":
        raise ValueError(f"cell {cell.name!r} cannot hear itself: it needs a dense R, of which combine sees h R alone")
    heard = tuple(f"{gate} heard" for gate in cell.apart)

    def combine(params: Params, state: State, a: Array, r: Array) -> State:
        hidden = state[0].shape[-1]
        joint, own = hidden * (len(cell.gates) - len(cell.apart)), hidden * len(cell.gates)
        told = jnp.concatenate([a[..., :joint], a[..., joint:own] + r[..., own:]], axis=-1)
        return cell.combine(params, state, told, r[..., :own])

    return dataclasses.replace(
        cell, name=f"{cell.name}, hearing itself", gates=cell.gates + heard, combine=combine, apart=cell.apart + heard
    )


def fold(cell: Cell, params: Params, kernel: Array, bias: Array) -> Params:
    """Parameters of `hearing_itself(cell)` out of those of the cell and its readout `[hidden, in]`, `[in]`."""
    hidden = cell.features(params)
    joint = hidden * (len(cell.gates) - len(cell.apart))
    weights, recurrent = params["W"], params["R"]
    of_heard = kernel @ weights
    none = jnp.zeros_like(weights[:, joint:])
    return params | {
        "W": jnp.concatenate([weights, none], axis=1),
        "R": jnp.concatenate(
            [recurrent[:, :joint] + of_heard[:, :joint], recurrent[:, joint:], of_heard[:, joint:]], axis=1
        ),
        "b": jnp.concatenate([params["b"] + bias @ weights, none[0]]),
    }


def generate(setting: Setting, seed: int) -> Figures:
    """Figures of a sequence of 100 times the length of the task, that a trained network generates from noise of the
    size of its own error: `loss` of the network beside the `floor` without memory; `exponent`; `iterations_*` and
    `solved_*` within T / 4 by the full Jacobian and its diagonal, and `seconds_*` of the three methods, the best of
    five forward passes.
    """
    program, cell = program_of(setting), find_cell(setting.cell)
    state, _ = program.advance(program.start(seed), jax.random.key(seed), setting.steps)
    loss = program.test(state.params)[0]
    readout = (state.params[f"output/{name}"] for name in ("kernel", "bias"))
    cell, params = hearing_itself(cell), fold(cell, layer_params(state.params), *readout)
    noise = jnp.sqrt(loss) * jax.random.normal(jax.random.key(seed), (_LONGER * setting.lag, 1, 1))
    figures = [("loss", float(loss)), ("floor", program.floor)]
    figures += [(name, value) for _, name, value in newton.at_start(cell, params, noise)]
    for name in (SEQUENTIAL, *newton.KINDS):
        method = SEQUENTIAL if name == SEQUENTIAL else newton.patient(name, len(noise))
        figures.append((f"seconds_{name}", _best_time(cell, method, params, noise)))
    return [(setting.steps, name, value) for name, value in figures]


def _best_time(cell: Cell, method: str | Method, params: Params, inputs: Array) -> float:
    forward = jax.jit(lambda *arguments: scan(cell, *arguments, method=method)[0])
    jax.block_until_ready(forward(params, inputs))
    return min(timed(forward, params, inputs)[0] for _ in range(_REPEATS))
