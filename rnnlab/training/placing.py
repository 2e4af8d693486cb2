"""Where trained parameters are used: they lie whole on every device, and the devices share the rows of each batch."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnnlab.tasks.base import ModelParams

T = TypeVar("T")


def place_params(params: ModelParams) -> ModelParams:
    """Places parameters on every device of this process."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return jax.device_put(params)
    mesh = jax.make_mesh((len(devices),), ("data",), devices=devices, axis_types=(AxisType.Auto,))
    return jax.device_put(params, NamedSharding(mesh, PartitionSpec()))


def place_rows(values: T, params: ModelParams, *, axis: int = 1) -> T:
    """Places arrays on the devices of the parameters, which share their rows equally.

    Args:
      values: the same in every process. Rows that the number of devices does not divide are not shared: every device
        gets, and computes, all of them.
      params: from `place_params`, or on the mesh of a run.
      axis: that of the rows; the last one in an array with fewer axes, as in `[time, batch, ...]` and `[batch]`.
    """
    mesh = _mesh_of(params)
    if mesh is None:
        return jax.device_put(values)

    def put(value: Any) -> jax.Array:
        held = np.asarray(value)
        rows = min(axis, held.ndim - 1)
        shared = held.ndim > 0 and held.shape[rows] % mesh.size == 0
        spec = _rows(mesh, rows) if shared else PartitionSpec()
        return jax.make_array_from_callback(held.shape, NamedSharding(mesh, spec), lambda index: held[index])

    return jax.tree.map(put, values)


def whole_rows(number: int, params: ModelParams) -> int:
    """Rounds a number of rows up to one that the devices of the parameters can share."""
    mesh = _mesh_of(params)
    return number if mesh is None else -(-number // mesh.size) * mesh.size


def sharing_mesh(params: ModelParams, rows: int) -> Mesh | None:
    """Returns the mesh of the devices that share so many rows; None if there is one device, or they do not."""
    mesh = _mesh_of(params)
    return mesh if mesh is not None and rows % mesh.size == 0 else None


def on_own_rows(run: Callable[..., T], mesh: Mesh | None, *axes: int) -> Callable[..., T]:
    """Returns `run(params, *values)`, in which each device runs for itself on its own rows.

    For loops that end when all rows have, or that reorder rows: compiled for all devices together, these would wait for
    each other at every step.

    Args:
      run: its results have their rows along the first axis.
      mesh: from `sharing_mesh`; None leaves `run` as it is.
      axes: that of the rows in each of `values`.
    """
    if mesh is None:
        return run
    given = (PartitionSpec(), *(_rows(mesh, axis) for axis in axes))
    # what varies between devices need not be declared: nothing is differentiated
    return jax.shard_map(run, mesh=mesh, in_specs=given, out_specs=_rows(mesh, 0), check_vma=False)


def fetch(values: T) -> T:
    """Returns arrays of results, whole, in the host memory of every process."""

    def whole(leaf: jax.Array) -> Any:
        held_here = leaf.is_fully_addressable or leaf.is_fully_replicated
        return leaf if held_here else multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(whole, values))


def _rows(mesh: Mesh, axis: int) -> PartitionSpec:
    return PartitionSpec(*[None] * axis, mesh.axis_names)


def _mesh_of(params: ModelParams) -> Mesh | None:
    """Returns the mesh that parameters lie on, None if that is a single device."""
    layouts = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(params))
    meshes = (of.mesh for of in layouts if isinstance(of, NamedSharding) and isinstance(of.mesh, Mesh))
    return next((mesh for mesh in meshes if mesh.size > 1), None)
