"""The forward kernel: all steps, and the residuals of each."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.kernels import gates, products
from rnnlab.scans.kernels.grid import Grid, Operands
from rnnlab.scans.kernels.launch import launch
from rnnlab.scans.kernels.operands import in_kernel, params_of, read_params, read_where
from rnnlab.scans.kernels.settings import Pallas
from rnnlab.scans.product import apply_mask, project
from rnnlab.scans.residuals import Projections, StepResiduals
from rnnlab.scans.select import enter_step, select_state
from rnnlab.scans.sequences import Sequences, Steps


def forward(
    cell: Cell, settings: Pallas, params: Params, given: Sequences, *, store: bool
) -> tuple[State, StepResiduals]:
    """Returns the last state and the residuals of each step: all of them, or only `h`.

    Residuals are in the dtype of inputs and weights. Empty `Projections` are None.
    """
    dtype = given.dtype(params)
    projected = given.steps._replace(inputs=project(params, given.steps.inputs))
    found = launch(
        functools.partial(_kernel, cell),
        cell,
        settings,
        Operands(
            in_kernel(projected, dtype),
            (given.initial, given.mask),
            (products.weights_of(cell, params), params_of(cell, params, given.initial[0].dtype)),
        ),
        Operands(
            _residuals(cell, projected.inputs.shape, dtype, store),
            tuple(jax.ShapeDtypeStruct(entry.shape, entry.dtype) for entry in given.initial),
        ),
        name=f"{cell.name}_forward",
        backwards=given.reverse,
        carried=len(given.initial),
    )
    return found.rows, found.steps


def _residuals(cell: Cell, projected: tuple[int, ...], dtype: jnp.dtype, store: bool) -> StepResiduals:
    """Returns the shapes of what is stored; None for an empty array, which a kernel cannot write."""
    time, batch, width = projected

    def of(count: int) -> Any:
        shape = time, batch, count * width // len(cell.gates)
        return jax.ShapeDtypeStruct(shape, dtype) if count else None

    if not store:
        return StepResiduals(of(1), (), ())
    split = len(cell.split_gates)
    rest = tuple(of(1) for _ in cell.state_names[1:])
    return StepResiduals(of(1), rest, Projections(of(len(cell.gates) - split), of(split), of(split)))


def _kernel(cell: Cell, grid: Grid, given: Operands, wanted: Operands, held: tuple) -> None:
    own = grid.units_of_program()
    (of_initial, of_mask), (weights, of_params) = given.rows, given.whole
    steps: Steps = given.steps
    stored: StepResiduals = wanted.steps
    initial = own.read_each(of_initial)
    mask = None if of_mask is None else own.read(of_mask)[0]
    params = read_params(of_params, own)

    def step(at: Any, before: State) -> State:
        entered = enter_step(read_where(steps.segment_starts, at, own, before), before, initial)
        a = own.read(steps.inputs, at, gates=len(cell.gates))
        r = products.recur(cell, weights, apply_mask(entered[0], mask), own)
        after = gates.combine(cell, params, entered, a, r)
        after = select_state(read_where(steps.updates, at, own, after), after, entered)
        own.write(stored.hidden, after[:1], at)
        if stored.projections:
            own.write_each(stored.rest_before, before[1:], at)
            _store(cell, stored.projections, a, r, own, at)
        return after

    own.write_each(wanted.rows, grid.run(step, initial, held))


def _store(cell: Cell, stored: Any, a: gates.Gates, r: gates.Gates, own: Any, at: Any) -> None:
    summed = len(a) - len(cell.split_gates)
    if summed:
        own.write(stored.summed, tuple(x + y for x, y in zip(a[:summed], r[:summed], strict=True)), at)
    if cell.split_gates:
        own.write(stored.a, a[summed:], at)
        own.write(stored.r, r[summed:], at)
