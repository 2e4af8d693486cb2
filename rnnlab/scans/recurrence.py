"""The product with R for each structure of R: forward, backward, weight gradient, and R as a dense matrix.

`h R` is `[..., gates * hidden]`, gate after gate, for every structure. Without R it is 0.
"""

import jax.numpy as jnp
import jax.scipy.linalg
from jax import Array

from rnnlab.cells import Cell, Params
from rnnlab.scans.product import at_least_float32, join_steps, product, sum_of_products


def weights_dtype(params: Params) -> jnp.dtype:
    """Returns the dtype of the weights: that of `W`, which every cell has."""
    return params["W"].dtype


def recur(cell: Cell, params: Params, hidden: Array) -> Array:
    """Returns `h R`, from `h` `[..., batch, hidden]`."""
    wide = at_least_float32(weights_dtype(params))
    if cell.recurrence == "none":
        return jnp.zeros((*hidden.shape[:-1], params["b"].shape[0]), wide)
    weights = params["R"]
    if cell.recurrence == "dense":
        return product(hidden, weights)
    if cell.recurrence == "diagonal":
        rounded = jnp.tile(hidden.astype(weights.dtype), len(cell.gates))
        return rounded.astype(wide) * weights.astype(wide)
    by_head = product(_by_head(hidden, len(weights)), weights)
    return _join_gates(by_head, len(cell.gates))


def transposed(cell: Cell, params: Params) -> Array:
    """Returns `R` in the layout of `recur_back`: a copy, which pays if it is used at many steps."""
    return params["R"] if cell.recurrence == "diagonal" else jnp.swapaxes(params["R"], -1, -2)


def recur_back(cell: Cell, weights: Array, d_recurrent: Array) -> Array:
    """Returns the gradient of `h` `[..., batch, hidden]`, from that of `h R`; `weights` come from `transposed`."""
    if cell.recurrence == "dense":
        return product(d_recurrent, weights)
    gates = len(cell.gates)
    if cell.recurrence == "diagonal":
        wide = at_least_float32(weights.dtype)
        terms = d_recurrent.astype(weights.dtype).astype(wide) * weights.astype(wide)
        return terms.reshape(*terms.shape[:-1], gates, terms.shape[-1] // gates).sum(-2)
    by_head = product(_part_gates(d_recurrent, len(weights), gates), weights)
    return jnp.swapaxes(by_head, -2, -3).reshape(*d_recurrent.shape[:-1], d_recurrent.shape[-1] // gates)


def recurrence_gradient(cell: Cell, params: Params, hidden: Array, d_recurrent: Array) -> Params:
    """Returns `{"R": gradient}`, from `h` and the gradient of `h R` `[time, batch, ...]`; `{}` without R."""
    if cell.recurrence == "none":
        return {}
    weights, gates = params["R"], len(cell.gates)
    h, d = (join_steps(values.astype(weights.dtype)) for values in (hidden, d_recurrent))
    if cell.recurrence == "dense":
        return {"R": sum_of_products(h, d)}
    wide, t = at_least_float32(weights.dtype), "t" * (h.ndim - 2)  # no time axis if it is merged with the batch
    if cell.recurrence == "diagonal":
        by_gate = d.reshape(*h.shape[:-1], gates, h.shape[-1])
        return {"R": jnp.einsum(f"{t}nh,{t}ngh->gh", h, by_gate, preferred_element_type=wide).reshape(-1)}
    by_head = _by_head(h, len(weights)), _part_gates(d, len(weights), gates)
    return {"R": jnp.einsum(f"{t}knh,{t}kng->khg", *by_head, preferred_element_type=wide)}


def dense(cell: Cell, params: Params) -> Array:
    """Returns `R` as a dense matrix `[hidden, gates * hidden]` in at least float32."""
    hidden, gates = cell.features(params), len(cell.gates)
    wide = at_least_float32(weights_dtype(params))
    if cell.recurrence == "none":
        return jnp.zeros((hidden, gates * hidden), wide)
    weights = params["R"].astype(wide)
    if cell.recurrence == "dense":
        return weights
    if cell.recurrence == "diagonal":
        return jnp.concatenate([jnp.diag(own) for own in jnp.split(weights, gates)], axis=1)
    per_gate = [jax.scipy.linalg.block_diag(*own) for own in jnp.split(weights, gates, axis=2)]
    return jnp.concatenate(per_gate, axis=1)


def _by_head(hidden: Array, heads: int) -> Array:
    """Returns `[..., batch, hidden]` as `[..., heads, batch, hidden / heads]`."""
    return jnp.swapaxes(hidden.reshape(*hidden.shape[:-1], heads, hidden.shape[-1] // heads), -2, -3)


def _join_gates(by_head: Array, gates: int) -> Array:
    """Returns `[..., heads, batch, gates * part]` as `[..., batch, gates * hidden]`."""
    *lead, heads, batch, width = by_head.shape
    parted = by_head.reshape(*lead, heads, batch, gates, width // gates)
    return jnp.moveaxis(parted, -4, -2).reshape(*lead, batch, heads * width)


def _part_gates(projections: Array, heads: int, gates: int) -> Array:
    """Returns `[..., batch, gates * hidden]` as `[..., heads, batch, gates * part]`."""
    *lead, batch, width = projections.shape
    parted = projections.reshape(*lead, batch, gates, heads, width // gates // heads)
    return jnp.moveaxis(parted, -2, -4).reshape(*lead, heads, batch, width // heads)
