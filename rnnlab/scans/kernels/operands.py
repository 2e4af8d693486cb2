"""The operands of both kernels: the masks and the parameters that `combine` reads."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.kernels.gates import Gates
from rnnlab.scans.kernels.grid import Units
from rnnlab.scans.sequences import Steps


def in_kernel(steps: Steps, dtype: jnp.dtype) -> Steps:
    """Returns steps with masks as numbers in `dtype`, those of rows as columns `[time, batch, 1]`."""

    def numbers(mask: Array) -> Array:
        return (mask if mask.ndim == 3 else mask[..., None]).astype(dtype)

    starts = None if steps.segment_starts is None else numbers(steps.segment_starts)
    updates = steps.updates
    if updates is not None:
        updates = tuple(map(numbers, updates)) if isinstance(updates, tuple) else numbers(updates)
    return steps._replace(updates=updates, segment_starts=starts)


def read_where(where: Any, at: Any, own: Units, state: State) -> tuple[Array, ...] | None:
    """Returns where a step updates or restarts each entry of the state, `[rows, units]`, from what `in_kernel` made."""
    if where is None:
        return None
    if isinstance(where, tuple):
        return tuple(ref[at, :, own.columns(0)] > 0 for ref in where)
    return (jnp.broadcast_to(where[at], state[0].shape) > 0,) * len(state)


def params_of(cell: Cell, params: Params, dtype: jnp.dtype) -> Params:
    """Returns the parameters that `combine` reads, as rows `[1, n * units]`."""
    return {name: params[name].astype(dtype)[None] for name in cell.combine_params}


def read_params(params: Any, own: Units) -> dict[str, Gates]:
    """Returns the parameters of the units of a program, from references to those of `params_of`."""
    return {name: own.read(ref, gates=ref.shape[1] // own.units) for name, ref in params.items()}
