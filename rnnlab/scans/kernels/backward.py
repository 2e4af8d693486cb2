"""The backward kernel: all steps, last one first, with the gradients of state and parameters as carry."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.kernels import gates, products
from rnnlab.scans.kernels.grid import Grid, Operands, Units
from rnnlab.scans.kernels.launch import launch
from rnnlab.scans.kernels.operands import in_kernel, params_of, read_params, read_where
from rnnlab.scans.kernels.settings import Pallas
from rnnlab.scans.product import apply_mask
from rnnlab.scans.residuals import Block, BlockGradients, Projections, split
from rnnlab.scans.select import enter_step, select_state, split_entered
from rnnlab.scans.sequences import Steps


def pull_steps(cell: Cell, settings: Pallas, params: Params, block: Block, d_after: State) -> BlockGradients:
    """Pulls the gradient of the last state back over all steps, as `scans.pull` does over those of a block."""
    given, (d_outputs, stored) = block.given, block.rows
    _, rest, projections = split(stored)
    time, batch, units = block.hidden.shape
    width, wide = len(cell.gates) * units, d_after[0].dtype
    starts = given.steps.segment_starts is not None
    read = params_of(cell, params, wide)

    def of_rows(width: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, width), wide)

    of_steps = jax.ShapeDtypeStruct((time, batch, width), d_outputs.dtype)
    state = tuple(of_rows(units) for _ in d_after)
    found = launch(
        functools.partial(_kernel, cell),
        cell,
        settings,
        Operands(
            (in_kernel(given.steps._replace(inputs=d_outputs), d_outputs.dtype), (block.hidden, *rest), projections),
            (d_after, given.initial if starts else None, given.mask),
            (products.transposed(cell, params), read),
        ),
        Operands(
            (of_steps, of_steps if cell.split_gates else None),
            (state, state if starts else None, {name: of_rows(row.shape[1]) for name, row in read.items()}),
        ),
        name=f"{cell.name}_backward",
        backwards=not given.reverse,
        carried=(1 + starts) * len(d_after) + sum(row.shape[1] // units for row in read.values()),
    )
    before, initial, of_params = found.rows
    of_a, of_r = found.steps
    d_a = of_a.astype(wide)
    d_params = {name: of_each_row.sum(0) for name, of_each_row in of_params.items()}
    return BlockGradients(before, initial, d_params, d_a, d_a if of_r is None else of_r.astype(wide))


def _kernel(cell: Cell, grid: Grid, given: Operands, wanted: Operands, held: tuple) -> None:
    own = grid.units_of_program()
    (of_last, of_initial, of_mask), (weights, of_params) = given.rows, given.whole
    steps: Steps = given.steps[0]
    states, projections = given.steps[1:]
    d_last, initial = own.read_each(of_last), own.read_each(of_initial or ())
    mask = None if of_mask is None else own.read(of_mask)[0]
    params = read_params(of_params, own)
    zeros = tuple(jnp.zeros_like(d) for d in d_last)

    def step(at: Any, carry: tuple) -> tuple:
        d_after, d_initial, d_params = carry
        starts = read_where(steps.segment_starts, at, own, d_last)
        updated = read_where(steps.updates, at, own, d_last)
        entered = enter_step(starts, own.read_each(states, at), initial)
        d_after = (d_after[0] + own.read(steps.inputs, at)[0], *d_after[1:])
        d_params_step, d_entered, d_a, d_r = gates.pull(
            cell, params, entered, *_read(cell, projections, own, at), select_state(updated, d_after, zeros)
        )
        own.write(wanted.steps[0], d_a, at)
        if cell.split_gates:
            own.write(wanted.steps[1], d_r, at)
        if weights is not None:
            d_hidden = products.recur_back(cell, weights, d_r, own)
            d_entered = (d_entered[0] + apply_mask(d_hidden, mask), *d_entered[1:])
        if updated is not None:
            d_entered = jax.tree.map(jnp.add, d_entered, select_state(updated, zeros, d_after))
        d_before, d_initial_step = split_entered(starts, d_entered)
        return d_before, *jax.tree.map(jnp.add, (d_initial, d_params), (d_initial_step, d_params_step))

    no_params = {name: tuple(zeros[0] for _ in parts) for name, parts in params.items()}
    d_first, d_initial, d_params = grid.run(step, (d_last, zeros if initial else None, no_params), held)
    wanted_first, wanted_initial, wanted_params = wanted.rows
    own.write_each((*wanted_first, *(wanted_initial or ())), (*d_first, *(d_initial or ())))
    for name, parts in d_params.items():
        own.write(wanted_params[name], parts)


def _read(cell: Cell, stored: Projections, own: Units, at: Any) -> tuple[gates.Gates, gates.Gates]:
    """Reads an `a` and an `r` for which `combine` gives the same result as for the original ones."""
    split = len(cell.split_gates)
    summed = own.read(stored.summed, at, gates=len(cell.gates) - split) if stored.summed is not None else ()
    a, r = (own.read(ref, at, gates=split) if split else () for ref in (stored.a, stored.r))
    return (*summed, *a), (*(jnp.zeros_like(gate) for gate in summed), *r)
