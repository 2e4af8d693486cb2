"""Irregular time steps: a scan over them is that of a cell with the time steps as an additional input."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.cells import CELLS, Cell
from rnnlab.cells.time_steps import timed, timed_params
from rnnlab.scans.arguments import Arguments, check_arguments
from rnnlab.scans.product import are_ids, poison


def take_time_steps(cell: Cell, given: Arguments, dt: Array | np.ndarray, *, reverse: bool) -> tuple[Cell, Arguments]:
    """Returns the cell and the arguments of a scan over steps of the lengths `dt` `[time, batch]`.

    Raises:
      ValueError: as `check_arguments`, a cell that is not in continuous time, or lengths of another shape.
    """
    if not cell.continuous:
        allowed = ", ".join(known.name for known in CELLS.values() if known.continuous)
        raise ValueError(f"dt: cell {cell.name!r} is not in continuous time; allowed: {allowed}")
    check_arguments(cell, given)
    inputs, params = given.inputs, given.params
    if np.shape(dt) != inputs.shape[:2]:
        raise ValueError(f"dt must be [time, batch] = {inputs.shape[:2]}, not of shape {np.shape(dt)}")
    if are_ids(inputs):
        ids = inputs if given.seq_lengths is None else jnp.where(_at(inputs) < given.seq_lengths, inputs, 0)
        inputs, params = jax.nn.one_hot(ids, len(params["W"]), dtype=params["W"].dtype), poison(params, ids)
    dt = jnp.asarray(dt).astype(inputs.dtype)
    dt = _backwards(dt, given) if reverse else dt
    inputs = jnp.concatenate([inputs, dt[..., None]], axis=-1)
    return timed(cell), given._replace(params=timed_params(cell, params), inputs=inputs)


def _backwards(dt: Array, given: Arguments) -> Array:
    """Returns the time between each step and the one read before it, which is the next one in time.

    The last step of a sequence is read first and has no such time; it takes that of the sequence's first step.
    """
    at, ends = _at(dt), _at(dt) == dt.shape[0] - 1
    first = jnp.zeros_like(at, shape=dt.shape)
    if given.seq_lengths is not None:
        ends |= at == jnp.asarray(given.seq_lengths) - 1
    if given.segment_starts is not None:
        starts = jnp.asarray(given.segment_starts).astype(bool)
        first = jax.lax.cummax(jnp.where(starts, at, 0))
        ends |= jnp.roll(starts, -1, axis=0)
    return jnp.where(ends, jnp.take_along_axis(dt, first, axis=0), jnp.roll(dt, -1, axis=0))


def _at(steps: Array) -> Array:
    return jnp.arange(steps.shape[0])[:, None]
