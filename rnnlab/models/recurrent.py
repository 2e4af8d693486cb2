"""Recurrent layers and stacks of them: the parameters of cells, run by `rnnlab.scan`."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import CELLS, Cell, State
from rnnlab.models.choice import check_choice
from rnnlab.models.dropout import apply_mask, draw_mask
from rnnlab.models.embedding import Lookup, rows
from rnnlab.scan import scan

INITIAL_STATES = ("zero", "learnt")


class Recurrent(nnx.Module):
    """One cell over time, in one direction.

    Args:
      cell: a name out of `CELLS`, or a `Cell`.
      in_features, features: sizes of the input and of the state.
      initial_state: "zero", or "learnt": a parameter `[features]` for each entry of the state.

    Raises:
      ValueError: an unknown cell or initial state.
    """

    def __init__(
        self, cell: str | Cell, in_features: int, features: int, *, initial_state: str = "zero", rngs: nnx.Rngs
    ):
        check_choice("initial_state", initial_state, INITIAL_STATES)
        self.cell = CELLS[check_choice("cell", cell, CELLS)] if isinstance(cell, str) else cell
        self.features = features
        params = self.cell.init(rngs.params(), in_features, features)
        self.params = nnx.Dict({name: nnx.Param(value) for name, value in params.items()})
        start = zip(self.cell.state_names, self.cell.initial_state(1, features), strict=True)
        self.start = nnx.Dict({n: nnx.Param(v[0]) for n, v in start} if initial_state == "learnt" else {})

    def initial_state(self, batch: int) -> State:
        """The state before the first step, entries `[batch, features]`."""
        if not self.start:
            return self.cell.initial_state(batch, self.features)
        return tuple(jnp.tile(self.start[name][...], (batch, 1)) for name in self.cell.state_names)

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"] | Lookup,
        state: State | None = None,
        **options,
    ) -> tuple[Float[Array, "time batch features"], State]:
        """Runs over `inputs` `[time, batch, in]`, or a `Lookup` of them; `options` are those of `rnnlab.scan.scan`."""
        params = {name: value[...] for name, value in self.params.items()}
        state = self.initial_state(inputs.shape[1]) if state is None else state
        if isinstance(inputs, Lookup):
            params["W"] = inputs.table @ params["W"]
            inputs = inputs.ids
        return scan(self.cell, params, inputs, state=state, **options)


class Stack(nnx.Module):
    """Layers of one cell, one upon the other.

    Args:
      cell, features, initial_state: as in `Recurrent`; `features` is the size of each direction.
      layers: how many.
      bidirectional: each layer runs forwards and backwards; its output joins the two (Schuster and Paliwal 1997).
      dropout: rate on the outputs of every layer but the last.
      residual: adds a layer's input to its output where their sizes agree (as in Wu et al. 2016, arXiv 1609.08144).
    """

    def __init__(
        self,
        cell: str | Cell,
        in_features: int,
        features: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        residual: bool = False,
        initial_state: str = "zero",
        rngs: nnx.Rngs,
    ):
        self.dropout, self.residual = dropout, residual
        self.out_features = features * (2 if bidirectional else 1)
        self.layers: nnx.List = nnx.List()
        for layer in range(layers):
            size = self.out_features if layer else in_features
            directions = [
                Recurrent(cell, size, features, initial_state=initial_state, rngs=rngs)
                for _ in range(2 if bidirectional else 1)
            ]
            self.layers.append(nnx.List(directions))

    @property
    def cell(self) -> Cell:
        """The cell of every layer."""
        return self.layers[0][0].cell

    def initial_states(self, batch: int) -> tuple[State, ...]:
        """The state of each layer before the first step, entries `[batch, out_features]`, directions side by side."""
        return tuple(_join([d.initial_state(batch) for d in layer]) for layer in self.layers)

    def draw_masks(self, rngs: nnx.Rngs | None, time: int, batch: int) -> tuple[Array | None, ...]:
        """Dropout masks `[time, batch, out_features]` for the outputs of every layer but the last."""
        return tuple(draw_mask(rngs, self.dropout, (time, batch, self.out_features)) for _ in self.layers[1:])

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"] | Lookup,
        states: tuple[State, ...] | None = None,
        *,
        seq_lengths: Int[Array, "batch"] | None = None,
        resets: Bool[Array, "time batch"] | None = None,
        masks: tuple[Array | None, ...] = (),
    ) -> tuple[Float[Array, "time batch out"], tuple[State, ...]]:
        """Runs every layer over `inputs` `[time, batch, in]`, or a `Lookup` of them.

        Args:
          states: one per layer, as `initial_states` gives them; None starts anew.
          seq_lengths, resets: as in `rnnlab.scan.scan`.
          masks: from `draw_masks`; none means evaluation.

        Returns:
          The last layer's outputs `[time, batch, out_features]`, and the state of each layer after the last step.
        """
        states = self.initial_states(inputs.shape[1]) if states is None else states
        finals = []
        for index, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if index and masks:
                inputs = apply_mask(rows(inputs), masks[index - 1])
            runs = [
                direction(inputs, part, seq_lengths=seq_lengths, resets=resets, reverse=backwards)
                for direction, part, backwards in zip(layer, _part(state, len(layer)), (False, True), strict=False)
            ]
            outputs = jnp.concatenate([out for out, _ in runs], axis=-1) if len(runs) > 1 else runs[0][0]
            inputs = outputs + rows(inputs) if self.residual and outputs.shape == inputs.shape else outputs
            finals.append(_join([final for _, final in runs]))
        return rows(inputs), tuple(finals)


def _join(directions: list[State]) -> State:
    return tuple(jnp.concatenate(entries, axis=-1) for entries in zip(*directions, strict=True))


def _part(state: State, directions: int) -> list[State]:
    return list(zip(*(jnp.split(entry, directions, axis=-1) for entry in state), strict=True))
