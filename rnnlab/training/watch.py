"""A model that records its recurrences, with a loss that can be differentiated at each of their steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.gradient_flow.trajectory import Trajectory, run
from rnnlab.models.embedding import Lookup, rows
from rnnlab.models.recurrent import Recurrent, Stack
from rnnlab.scans.product import are_ids

Model = Any


class Nudges(NamedTuple):
    """Added to each step's input `[time, batch, in]` and to its `h R` `[time, batch, gates * hidden]`."""

    inputs: Array
    recurrent: Array


class Record(NamedTuple):
    """The inputs of a recurrence, in the order in which it read them, and its trajectory."""

    params: Params
    inputs: Float[Array, "time batch in"]
    state: State
    trajectory: Trajectory


def recurrent_cells(model: nnx.Module) -> dict[str, Cell]:
    """Finds the cell of each recurrence by its name: path of its stack, layer, direction ("top/0/forward")."""
    return {name: layer[position].evaluated_cell for name, layer, position in _places(model)}


def watched(
    loss: Callable[[Model], Array], model: nnx.Module, nudges: dict[str, Nudges] | None = None
) -> tuple[Array, dict[str, Record]]:
    """Computes a loss, and the record of each recurrence of the model.

    Changes `model`: its recurrences are watched from then on.

    Args:
      loss: of the model, over sequences without padding; repeated calls of a recurrence continue from its last state.
      nudges: from `no_nudges`; None adds nothing.
    """
    found = {}
    for name, layer, position in _places(model):
        found[name] = layer[position] = _Watched(layer[position], None if nudges is None else nudges[name])
    value = loss(model)
    return value, {name: recurrence.record for name, recurrence in found.items()}


def no_nudges(loss: Callable[[Model], Array], model: nnx.Module) -> dict[str, Nudges]:
    """Makes zeros for each recurrence and step of the loss."""
    graph, state = nnx.split(model)
    records = jax.eval_shape(lambda own: watched(loss, nnx.merge(graph, own))[1], state)
    shapes = {name: (own.inputs, own.trajectory.recurrent_projection) for name, own in records.items()}
    return {name: Nudges(*(jnp.zeros(v.shape, v.dtype) for v in own)) for name, own in shapes.items()}


def _places(model: nnx.Module) -> list[tuple[str, nnx.List, int]]:
    """Yields each recurrence by its stack's path, its layer and any direction; and its place in the model."""
    stacks = [(path, node) for path, node in nnx.iter_graph(model) if isinstance(node, Stack)]
    found = []
    for path, stack in stacks:
        prefix = "".join(f"{part}/" for part in path if part != "stack")
        for index, layer in enumerate(stack.layers):
            for position, direction in enumerate(("/forward", "/backward") if len(layer) > 1 else ("",)):
                found.append((f"{prefix}{index}{direction}", layer, position))
    return found


class _Watched:
    """Replaces a `Recurrent` over sequences without padding; a further call continues from the last state."""

    def __init__(self, recurrent: Recurrent, nudges: Nudges | None):
        self._recurrent, self._nudges, self._records = recurrent, nudges, list[Record]()
        self.cell, self.initial_state = recurrent.evaluated_cell, recurrent.initial_state

    def __call__(
        self, inputs: Array | Lookup, state: State, *, reverse: bool = False, dt: Array | None = None, **_options
    ) -> tuple[Float[Array, "time batch features"], State]:
        if dt is not None:
            raise ValueError("dt: gradient flow over irregular time steps is not supported; omit it")
        turn = (lambda values: values[::-1]) if reverse else (lambda values: values)
        params = {name: value[...] for name, value in self._recurrent.params.items()}
        ids = not isinstance(inputs, Lookup) and are_ids(inputs)
        read, recurrent = turn(jax.nn.one_hot(inputs, len(params["W"])) if ids else rows(inputs)), None
        read = read.astype(params["W"].dtype)  # measured without mixed precision
        if self._nudges is not None:
            done = sum(record.inputs.shape[0] for record in self._records)
            now = jax.tree.map(lambda values: values[done : done + inputs.shape[0]], self._nudges)
            read, recurrent = read + now.inputs, now.recurrent
        found = run(self.cell, params, read, state, recurrent)
        self._records.append(Record(params, read, state, found))
        return turn(found.hidden), found.after

    @property
    def record(self) -> Record:
        """Returns the record of all calls together."""
        inputs, before, a, r = jax.tree.map(
            lambda *parts: jnp.concatenate(parts),
            *((n.inputs, n.trajectory.before, *n.trajectory[2:]) for n in self._records),
        )
        after = self._records[-1].trajectory.after
        return self._records[0]._replace(inputs=inputs, trajectory=Trajectory(before, after, a, r))
