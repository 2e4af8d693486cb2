"""The layout of a run's arrays: one mesh over all devices of all processes, batches sharded over its axis `data`,
parameters by the rules of `training.sharding`."""

import datetime
import platform
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.tasks.base import ModelParams
from rnnlab.training.sharding import AXES, DEFAULT_RULES, check_rules, find_rule, parse_rules

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

    Parameters are sharded by the rules of `training.sharding`, and so are the optimizer's copies of them; with
    `training.shard_optimizer` those are sharded over `data`, too (ZeRO-1: Rajbhandari et al. 2020, arXiv 1910.02054). A
    task's carry from batch to batch is sharded like batches.

    Raises:
      UserError: a number of devices that is not divisible into `model` groups, a batch that is not divisible among
        the devices and processes that share it, or an invalid rule.
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
        self.mesh = jax.make_mesh((count // model, model), AXES, axis_types=kinds, devices=devices)
        self._rules, self._are_own = parse_rules(training.sharding), training.sharding != DEFAULT_RULES
        self._shards_optimizer = training.shard_optimizer
        self.replicate = jax.jit(lambda tree: tree, out_shardings=self._over())

    def shardings(self, state: Any) -> Any:
        """Returns the sharding of every array of a training state.

        Raises:
          UserError: a rule does not fit the parameters.
        """
        if self._are_own:
            check_rules(self._rules, state.params)
        return jax.tree_util.tree_map_with_path(self._sharding, state)

    def _sharding(self, path: tuple, leaf: Any) -> NamedSharding:
        part, name, shape = getattr(path[0], "name", None), getattr(path[-1], "key", None), np.shape(leaf)
        if part == "carry":
            return self._over("data", *[None] * (len(shape) - 1))
        rule = find_rule(self._rules, name) if isinstance(name, str) else None
        axes = [None] * len(shape) if rule is None else rule.split(shape, self.mesh.shape)
        if part == "optimizer" and self._shards_optimizer and "data" not in axes:
            among = self.mesh.shape["data"]
            first = next((i for i, axis in enumerate(axes) if axis is None and shape[i] % among == 0), None)
            axes = ["data" if i == first else axis for i, axis in enumerate(axes)]
        return self._over(*axes)

    def before_loops(self, params: ModelParams) -> ModelParams:
        """Gathers the parameters of the rules that ask for it, in a compiled function."""
        found = {name: find_rule(self._rules, name) for name in params}
        gathered = {name for name, rule in found.items() if rule is not None and rule.gathered and any(rule.axes)}
        if self.mesh.size == 1 or not gathered:
            return params
        whole = self._over()
        return params | {name: jax.lax.with_sharding_constraint(params[name], whole) for name in gathered}

    def _over(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def place(self, state: T) -> T:
        """Places a host state, which is the same in every process, on the devices; what lies there already stays."""

        def put(leaf, sharding):
            if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
                return leaf
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
