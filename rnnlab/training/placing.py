"""Where trained parameters are used: they lie whole on every device, and the devices share the rows of each batch."""

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
        spec = PartitionSpec(*[None] * rows, mesh.axis_names) if shared else PartitionSpec()
        return jax.make_array_from_callback(held.shape, NamedSharding(mesh, spec), lambda index: held[index])

    return jax.tree.map(put, values)


def whole_rows(number: int, params: ModelParams) -> int:
    """Rounds a number of rows up to one that the devices of the parameters can share."""
    mesh = _mesh_of(params)
    return number if mesh is None else -(-number // mesh.size) * mesh.size


def fetch(values: T) -> T:
    """Returns arrays of results, whole, in the host memory of every process."""

    def whole(leaf: jax.Array) -> Any:
        held_here = leaf.is_fully_addressable or leaf.is_fully_replicated
        return leaf if held_here else multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(whole, values))


def _mesh_of(params: ModelParams) -> Mesh | None:
    """Returns the mesh that parameters lie on, None if that is a single device."""
    layouts = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(params))
    meshes = (of.mesh for of in layouts if isinstance(of, NamedSharding) and of.mesh.size > 1)
    return next(meshes, None)
