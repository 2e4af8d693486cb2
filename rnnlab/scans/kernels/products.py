"""The product with R inside a kernel, gate by gate: forward and backward, for each structure of R."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl

from rnnlab.cells import Cell, Params
from rnnlab.scans.kernels.gates import Gates
from rnnlab.scans.kernels.grid import Units
from rnnlab.scans.product import at_least_float32


def weights_of(cell: Cell, params: Params) -> Array | None:
    """Returns `R` as `[heads, units, gates * units]`, a diagonal as `[1, gates * hidden]`, or None."""
    if cell.recurrence == "none":
        return None
    weights = params["R"]
    return weights if weights.ndim == 3 else weights[None]


def transposed(cell: Cell, params: Params) -> Array | None:
    """Returns `R` for `recur_back`: `[heads, gates * units, units]`, or as `weights_of`."""
    weights = weights_of(cell, params)
    return weights if weights is None or weights.ndim == 2 else jnp.swapaxes(weights, 1, 2)


def recur(cell: Cell, weights: Any, hidden: Array, own: Units) -> Gates:
    """Returns `h R` of the units of a program, from their `h` `[rows, units]`.

    Args:
      weights: a reference to what `weights_of` returns.
      own: the units of the program.
    """
    gates = range(len(cell.gates))
    if weights is None:
        return tuple(jnp.zeros_like(hidden) for _ in gates)
    if cell.recurrence == "diagonal":
        return tuple(_scale(hidden, weights[:, own.columns(gate)]) for gate in gates)
    return tuple(_product(hidden, weights[own.head, :, pl.ds(gate * own.part, own.part)]) for gate in gates)


def recur_back(cell: Cell, weights: Any, d_recurrent: Gates, own: Units) -> Array:
    """Returns the gradient of `h`, from that of `h R`; `weights` is a reference to what `transposed` returns."""
    if cell.recurrence == "diagonal":
        terms = [_scale(d, weights[:, own.columns(gate)]) for gate, d in enumerate(d_recurrent)]
    else:
        terms = [_product(d, weights[own.head, pl.ds(gate * own.part, own.part)]) for gate, d in enumerate(d_recurrent)]
    return sum(terms[1:], terms[0])


def _product(rows: Array, weights: Array) -> Array:
    """Returns `rows @ weights` as `rnnlab.scans.product` does; products of bfloat16 are exact at every precision."""
    wide = at_least_float32(weights.dtype)
    # the compiler for TPUs refuses more than the default for bfloat16
    precision = None if weights.dtype == wide else jax.lax.Precision.DEFAULT
    return jnp.dot(rows.astype(weights.dtype), weights, precision=precision, preferred_element_type=wide)


def _scale(rows: Array, weights: Array) -> Array:
    wide = at_least_float32(weights.dtype)
    return rows.astype(weights.dtype).astype(wide) * weights.astype(wide)
