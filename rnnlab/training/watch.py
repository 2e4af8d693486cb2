"""A seq2seq model whose recurrences keep what they did, and whose loss can be differentiated by each of their steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells import Cell, Params, State
from rnnlab.data.batch import Batch
from rnnlab.gradient_flow.trajectory import Trajectory, run
from rnnlab.losses import cross_entropy
from rnnlab.models import Seq2Seq
from rnnlab.models.embedding import Lookup, rows
from rnnlab.models.recurrent import Recurrent


class Nudges(NamedTuple):
    """Added to each step's input `[time, batch, in]` and to its `h R` `[time, batch, gates * hidden]`."""

    inputs: Array
    recurrent: Array


class Record(NamedTuple):
    """What a recurrence was given, in the order in which it read it, and its trajectory."""

    params: Params
    inputs: Float[Array, "time batch in"]
    state: State
    trajectory: Trajectory


def recurrent_cells(model: Seq2Seq) -> dict[str, Cell]:
    """The cell of each recurrence by its name: "encoder/0/forward", "decoder/0"."""
    return {name: layer[position].evaluated_cell for name, layer, position in _places(model)}


def no_nudges(model: Seq2Seq, batch: Batch) -> dict[str, Nudges]:
    """Zeros for each recurrence over a batch."""
    steps = {"encoder": batch.source.shape, "decoder": batch.inputs.shape}
    found = {}
    for name, layer, position in _places(model):
        params = layer[position].params
        shape = steps[name.split("/")[0]]
        found[name] = Nudges(jnp.zeros((*shape, len(params["W"][...]))), jnp.zeros((*shape, params["b"].shape[0])))
    return found


def watched_loss(model: Seq2Seq, batch: Batch, nudges: dict[str, Nudges]) -> tuple[Array, dict[str, Record]]:
    """The mean cross-entropy of a batch without padding, in nats per label, and what each recurrence did.

    Changes `model`: its recurrences are watched from then on.
    """
    watched = {}
    for name, layer, position in _places(model):
        watched[name] = layer[position] = _Watched(layer[position], nudges[name])
    states, memory = model.encode(batch.source, batch.source_lengths)
    if model.decoder.one_by_one:  # a loop of its own, whose steps a watched recurrence can tell apart
        said = []
        for tokens in batch.inputs:
            states, (logits, _) = model.decoder.step(states, tokens, memory)
            said.append(logits)
        logits = jnp.stack(said)
    else:
        logits, _ = model.decoder.teacher_forced(batch.inputs, states, memory)
    loss = cross_entropy(logits, batch.labels, batch.target_lengths) / batch.labels.size
    return loss, {name: recurrence.record for name, recurrence in watched.items()}


def _places(model: Seq2Seq) -> list[tuple[str, nnx.List, int]]:
    return [
        (f"{side}/{index}{direction}", layer, position)
        for side in ("encoder", "decoder")
        for index, layer in enumerate(getattr(model, side).stack.layers)
        for position, direction in enumerate(("/forward", "/backward") if len(layer) > 1 else ("",))
    ]


class _Watched:
    """Stands in for a `Recurrent` over sequences without padding; a further call goes on where the last one ended."""

    def __init__(self, recurrent: Recurrent, nudges: Nudges):
        self._recurrent, self._nudges, self._records = recurrent, nudges, list[Record]()
        self.cell, self.initial_state = recurrent.evaluated_cell, recurrent.initial_state

    def __call__(
        self, inputs: Array | Lookup, state: State, *, reverse: bool = False, **_options
    ) -> tuple[Float[Array, "time batch features"], State]:
        turn = (lambda values: values[::-1]) if reverse else (lambda values: values)
        done = sum(record.inputs.shape[0] for record in self._records)
        now = jax.tree.map(lambda values: values[done : done + inputs.shape[0]], self._nudges)
        read = turn(rows(inputs)) + now.inputs
        params = {name: value[...] for name, value in self._recurrent.params.items()}
        found = run(self.cell, params, read, state, now.recurrent)
        self._records.append(Record(params, read, state, found))
        return turn(found.hidden), found.after

    @property
    def record(self) -> Record:
        """Of all calls together."""
        inputs, before, a, r = jax.tree.map(
            lambda *parts: jnp.concatenate(parts),
            *((n.inputs, n.trajectory.before, *n.trajectory[2:]) for n in self._records),
        )
        after = self._records[-1].trajectory.after
        return self._records[0]._replace(inputs=inputs, trajectory=Trajectory(before, after, a, r))
