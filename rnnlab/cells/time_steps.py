"""Cells in continuous time, over irregular time steps."""

import dataclasses
import functools

import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def timed(cell: Cell) -> Cell:
    """Returns a cell in continuous time with one more gate, the first: `dt`, the time since the step before.

    A negative time counts as 0. `timed_params` makes its parameters.

    Raises:
      ValueError: the cell is not in continuous time.
    """
    if not cell.continuous:
        raise ValueError(f"dt: cell {cell.name!r} is not in continuous time")
    combine = functools.partial(_combine, cell=cell)
    return dataclasses.replace(
        cell, name=f"{cell.name} over dt", gates=("dt", *cell.gates), combine=combine, continuous=False
    )


def timed_params(cell: Cell, params: Params) -> Params:
    """Returns the parameters of `timed(cell)`, with `dt` as an additional last input, from those of `cell`."""
    units = cell.features(params)
    of_dt = jnp.concatenate([jnp.ones(units), jnp.zeros(len(cell.gates) * units)]).astype(params["W"].dtype)
    gated = {
        name: jnp.pad(value, [(0, 0)] * (value.ndim - 1) + [(value.shape[-1] // len(cell.gates), 0)])
        for name, value in params.items()
        if name in ("W", "R", "b")
    }
    return params | gated | {"W": jnp.concatenate([gated["W"], of_dt[None]])}


def _combine(params: Params, state: State, a: Array, r: Array, *, cell: Cell) -> State:
    units = state[0].shape[-1]
    own = {name: params[name][..., params[name].shape[-1] // (len(cell.gates) + 1) :] for name in cell.reads_params}
    dt = jnp.maximum((a + r)[..., :units], 0)
    return cell.combine(params | own, state, a[..., units:], r[..., units:], dt)
