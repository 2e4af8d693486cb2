"""The programs of a config: a training step, the evaluation of its loss, and what the task would export (searches)."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rnnlab.aot.platforms import Target
from rnnlab.errors import UserError
from rnnlab.tasks import find_task
from rnnlab.tasks.base import Task
from rnnlab.tasks.exports import Program
from rnnlab.training.config import check_intervals
from rnnlab.training.programs import Programs
from rnnlab.training.step import TrainState, split_model
from rnnlab.training.workdir import resolve_paths


class Compilable(NamedTuple):
    """A program by name, with the shapes and shardings of its arguments."""

    name: str
    function: Callable
    arguments: tuple[Any, ...]


def make_task(config: ConfigDict) -> Task:
    """Makes the task of a config from its data; writes nothing.

    Raises:
      UserError: an invalid config, or data that are not available.
    """
    kind = find_task(config.experiment).variant(config)
    kind.check(config)
    check_intervals(config.training)
    resolve_paths(kind, config)
    return kind.create(config, pathlib.Path())


def programs_of(task: Task, target: Target) -> Iterator[Compilable]:
    """Yields the programs of a task, laid out over the target's mesh as in training.

    `train_step` is the whole step, whose two programs are compiled as one; `evaluation` the loss of a batch without
    regularisation. The others are those of `Task.exports`, if it has any, for a batch of `evaluation.batch_size` rows
    over `data` and as many steps as the longest training sequence has.

    Raises:
      UserError: a config that does not fit the model or the mesh.
    """
    programs = Programs(task, devices=list(target.mesh.devices.flat))
    batch = _first_batch(task)
    merge, params = split_model(task.sketch)
    state = jax.eval_shape(lambda params: programs.state_of(task, params), params)
    state = _placed(state, programs.devices.shardings(state))
    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    calls = task.config.training.steps_per_call > 1
    shared = _placed(batch, programs.devices.batch_shardings(batch, calls=calls))
    yield Compilable("train_step", jax.jit(programs.step, donate_argnums=0), (state, shared, seed))

    def evaluation(state: TrainState, batch: Any) -> jax.Array:
        found = task.loss(merge(state.params), batch, state.carry, rngs=None, step=state.step)
        return found.total / found.weight

    one = jax.tree.map(lambda leaf: leaf[0], batch) if calls else batch
    yield Compilable("evaluation", jax.jit(evaluation), (state, _placed(one, programs.devices.batch_shardings(one))))
    for name, program in _exported(task).items():
        yield Compilable(name, jax.jit(program.run), (state.params, *_arguments(task, target, program)))


def _first_batch(task: Task) -> Any:
    """Returns the batches of the first call, as arrays of the host."""
    batches = task.batches(seed=task.config.seed, process=0, processes=1)
    number = task.config.training.steps_per_call
    found = [next(batches) for _ in range(number)]
    return found[0] if number == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _placed(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree, shardings
    )


def _exported(task: Task) -> dict[str, Program]:
    try:
        return dict(task.exports().programs)
    except UserError:  # this config cannot be exported
        return {}


def _arguments(task: Task, target: Target, program: Program) -> Iterator[Any]:
    """Returns the arguments of an exported program with numbers for its symbolic sizes, rows over `data`."""
    rows, steps = task.config.evaluation.batch_size, task.longest()

    def known(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        names = [None if isinstance(size, int) else str(size) for size in leaf.shape]
        sizes = {"batch": rows}
        shape = [size if name is None else sizes.get(name, steps) for name, size in zip(names, leaf.shape, strict=True)]
        layout = PartitionSpec(*("data" if name == "batch" else None for name in names))
        return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype, sharding=NamedSharding(target.mesh, layout))

    return (jax.tree.map(known, argument) for argument in program.arguments.values())
