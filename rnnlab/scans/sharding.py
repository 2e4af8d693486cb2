"""The layout of values on a mesh if jax does not infer it: inside `jax.shard_map`, and with explicit axes."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.sharding import AxisType, NamedSharding, auto_axes

from rnnlab.scans.machine import has_several_devices


def vary_alike(values: Any) -> Any:
    """Casts arrays to vary over the same axes of a mesh, as `jax.shard_map` requires of the carry of a loop.

    Outside `jax.shard_map` it does nothing. The transpose of the cast sums the gradient of a value that did not vary.
    """
    axes = frozenset().union(*(_varying(leaf) for leaf in jax.tree.leaves(values)))
    return jax.tree.map(lambda v: jax.lax.pcast(v, tuple(sorted(axes - _varying(v))), to="varying"), values)


def _varying(value: Array) -> frozenset[str]:
    return jax.typeof(value).manual_axis_type.varying


def may_be_divided() -> bool:
    """Returns whether jax may shard arrays over devices here; inside `jax.shard_map` it has already done so."""
    axes = jax.sharding.get_abstract_mesh().axis_types
    return has_several_devices() and not (axes and all(kind is AxisType.Manual for kind in axes))


def over_explicit_axes(run: Callable, arguments: tuple, layout: Any) -> Any:
    """Returns `run(*arguments)`, with explicit axes of a mesh treated as automatic ones.

    Args:
      layout: `PartitionSpec`s of the results, one for each array or for a tree of them.
    """
    shardings = (jax.typeof(leaf).sharding for leaf in jax.tree.leaves(arguments))
    mesh = next((of.mesh for of in shardings if AxisType.Explicit in of.mesh.axis_types), None)
    if mesh is None:
        return run(*arguments)
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind is AxisType.Explicit)
    placed = jax.tree.map(lambda spec: NamedSharding(mesh, spec), layout)
    return auto_axes(run, axes=axes, out_sharding=placed)(*arguments)
