"""The layout of a run's arrays: one mesh over all devices of all processes, batches sharded over its axis `data`, large
parameters over its axis `model`."""

import datetime
import platform
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rnnlab.errors import UserError

T = TypeVar("T")


def describe_machine() -> str:
    """Names what this process computes with, and today's date."""
    number, kind = jax.device_count(), jax.devices()[0].device_kind
    devices = f"{number} x {kind}" if number > 1 else kind
    return (
        f"jax {jax.__version__} on {devices}, Python {platform.python_version()}, {datetime.date.today().isoformat()}"
    )


class Devices:
    """All devices visible to jax, or those that are given, as a mesh shaped by `training.model_parallel`.

    Parameters with two axes are sharded over `model`: those named `embedding` by rows (tokens), all others by columns
    (W and R by gates, the output layer by tokens); an array stays whole if the axis is not divisible. The same holds
    for the optimizer's copies. A task's carry from batch to batch is sharded like batches.

    Raises:
      UserError: a number of devices that is not divisible into `model` groups, or a batch that is not divisible among
        the devices and processes that share it.
    """

    def __init__(self, training: ConfigDict, devices: Sequence[Any] | None = None):
        devices = jax.devices() if devices is None else devices
        model, count = training.model_parallel, len(devices)
        if count % model:
            raise UserError(f"config.training.model_parallel: {model} does not divide the number of devices, {count}")
        if training.batch_size % (count // model):
            raise UserError(
                f"config.training.batch_size: {training.batch_size} is not a multiple of {count // model}, the number "
                "of devices that share a batch"
            )
        kinds = (AxisType.Auto, AxisType.Auto)
        self.mesh = jax.make_mesh((count // model, model), ("data", "model"), axis_types=kinds, devices=devices)
        self.replicate = jax.jit(lambda tree: tree, out_shardings=self._over())

    def shardings(self, state: Any) -> Any:
        """Returns the sharding of every array of a training state."""
        return jax.tree_util.tree_map_with_path(self._sharding, state)

    def _sharding(self, path: tuple, leaf: Any) -> NamedSharding:
        if getattr(path[0], "name", None) == "carry":
            return self._over("data", *[None] * (np.ndim(leaf) - 1))
        shape, parts = np.shape(leaf), self.mesh.shape["model"]
        rows = "embedding" in str(getattr(path[-1], "key", ""))
        if parts == 1 or len(shape) != 2 or shape[0 if rows else 1] % parts:
            return self._over()
        return self._over("model", None) if rows else self._over(None, "model")

    def _over(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def place(self, state: T) -> T:
        """Places a host state, which is the same in every process, on the devices."""

        def put(leaf, sharding):
            value = np.asarray(leaf)
            return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

        return jax.tree.map(put, state, self.shardings(state))

    def share(self, batch: T, *, calls: bool = False) -> T:
        """Makes a batch over all devices from this process's part; arguments as for `batch_shardings`."""
        return jax.tree.map(jax.make_array_from_process_local_data, self.batch_shardings(batch, calls=calls), batch)

    def batch_shardings(self, batch: Any, *, calls: bool = False) -> Any:
        """Returns the sharding of every array of a batch, `[batch]` or `[time, batch, ...]`; with `calls`, of several
        along a first axis."""

        def of(part: Any) -> NamedSharding:
            rows = min(1, part.ndim - calls - 1) + calls
            return self._over(*[None] * rows, "data", *[None] * (part.ndim - 1 - rows))

        return jax.tree.map(of, batch)

    def gather(self, tree: T) -> T:
        """Returns the unsharded arrays, in the memory of every process's host."""
        return jax.tree.map(lambda leaf: np.array(leaf.addressable_data(0)), self.replicate(tree))
