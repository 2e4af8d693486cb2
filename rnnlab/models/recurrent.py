"""Recurrent layers and stacks of them: the parameters of cells, run by `rnnlab.scans`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import Cell, State, find_cell, zoneout
from rnnlab.choice import check_choice
from rnnlab.models.dropout import Noise, draw_mask
from rnnlab.models.embedding import Lookup, rows
from rnnlab.scans import methods_of, scan
from rnnlab.scans.product import apply_mask

INITIAL_STATES = ("zero", "learnt")


class Rates(NamedTuple):
    """Rates of regularisation in a recurrence, each from 0 to below 1; 0 disables.

    Attributes:
      recurrent: dropout on `h` where it enters `h R`, the same units at every step (variational dropout: Gal and
        Ghahramani 2016, arXiv 1512.05287).
      weights: dropout on the entries of `R`, the same ones for a whole batch (DropConnect: Merity, Keskar and Socher
        2018, arXiv 1708.02182).
      zoneout, zoneout_cell: the probability that a unit of `h`, or of another entry of the state, keeps its value at a
        step (Krueger et al. 2017, arXiv 1606.01305). Entries that form one number (`Cell.together`) share a mask.
    """

    recurrent: float = 0.0
    weights: float = 0.0
    zoneout: float = 0.0
    zoneout_cell: float = 0.0


_NOTHING = Rates()


class Recurrent(nnx.Module):
    """One cell over time, in one direction.

    Args:
      cell: a name that `find_cell` knows ("lstm", "rnn/diagonal"), or a `Cell`.
      in_features, features: sizes of the input and of the state.
      initial_state: "zero", or "learnt": a parameter `[features]` for each entry of the state.
      rates: regularisation in training.
      method: that of `rnnlab.scans.scan`: "auto" or one of `rnnlab.scans.methods_of(cell)`.

    Raises:
      ValueError: an unknown cell or initial state, a method that the cell does not have, features that are not a
        multiple of its heads, recurrent dropout or weight drop without an `R` to apply it to, or two different rates of
        zoneout for a state that is one number.
    """

    def __init__(
        self,
        cell: str | Cell,
        in_features: int,
        features: int,
        *,
        initial_state: str = "zero",
        rates: Rates = _NOTHING,
        method: str = "auto",
        rngs: nnx.Rngs,
    ):
        check_choice("initial_state", initial_state, INITIAL_STATES)
        self.cell = _find(cell) if isinstance(cell, str) else cell
        _check_rates(self.cell, rates)
        self.method = check_choice(f"method of cell {self.cell.name!r}", method, ("auto", *methods_of(self.cell)))
        self.features, self.rates = features, rates
        self.zoneout = zoneout.entry_rates(self.cell, rates.zoneout, rates.zoneout_cell)
        params = self.cell.init(rngs.params(), in_features, features)
        self.params = nnx.Dict({name: nnx.Param(value) for name, value in params.items()})
        start = zip(self.cell.state_names, self.cell.initial_state(1, features), strict=True)
        self.start = nnx.Dict({n: nnx.Param(v[0]) for n, v in start} if initial_state == "learnt" else {})

    def initial_state(self, batch: int) -> State:
        """Returns the state before the first step, entries `[batch, features]`."""
        if not self.start:
            return self.cell.initial_state(batch, self.features)
        return tuple(jnp.tile(self.start[name][...], (batch, 1)) for name in self.cell.state_names)

    @property
    def evaluated_cell(self) -> Cell:
        """The cell in evaluation: the mean over zoneout masks."""
        return zoneout.expected(self.cell, self.zoneout) if any(self.zoneout) else self.cell

    def draw(self, rngs: nnx.Rngs | None, time: int, batch: int) -> Noise:
        """Draws the regularisation of a batch: the zoneout mask, and masks of `h R` and of `R`."""
        shape = (batch, self.features)
        zoneout_mask = None
        if rngs is not None and any(self.zoneout):
            drawn = [jax.random.bernoulli(rngs.dropout(), rate, (time, *shape)) for rate in self.zoneout]
            zoneout_mask = tuple(drawn[mask] for mask in self.cell.masks)
        weights = draw_mask(rngs, self.rates.weights, self.params["R"].shape) if self.rates.weights else None
        return Noise(zoneout_mask, (draw_mask(rngs, self.rates.recurrent, shape), weights))

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"] | Lookup,
        state: State | None = None,
        *,
        noise: Noise | None = None,
        **options,
    ) -> tuple[Float[Array, "time batch features"], State]:
        """Runs over `inputs` `[time, batch, in]`, or a `Lookup` of them.

        Args:
          state: entries `[batch, features]`; None is `initial_state`.
          noise: from `draw`; None means evaluation.
          options: those of `rnnlab.scans.scan`.
        """
        params = {name: value[...] for name, value in self.params.items()}
        cell, zoneout_mask, recurrent_mask = self.evaluated_cell, None, None
        if noise is not None:
            zoneout_mask, (recurrent_mask, weights) = noise
            cell = self.cell
            params |= {} if weights is None else {"R": params["R"] * weights}
        state = self.initial_state(inputs.shape[1]) if state is None else state
        if isinstance(inputs, Lookup):
            params["W"] = inputs.table @ params["W"]
            inputs = inputs.ids
        options = {"method": self.method} | options
        return scan(
            cell, params, inputs, state=state, recurrent_mask=recurrent_mask, zoneout_mask=zoneout_mask, **options
        )


class Stack(nnx.Module):
    """Stacked layers of one cell.

    Args:
      cell, features, initial_state, method: as in `Recurrent`; `features` is the size of each direction.
      layers: the number of layers.
      bidirectional: run each layer in both directions and concatenate the outputs (Schuster and Paliwal 1997).
      dropout: the rate on the outputs of every layer but the last.
      variational: draw those masks once for all steps.
      recurrent_dropout, weight_drop, zoneout, zoneout_cell: as in `Rates`.
      residual: add a layer's input to its output where their sizes agree (as in Wu et al. 2016, arXiv 1609.08144).
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
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        zoneout_cell: float = 0.0,
        residual: bool = False,
        initial_state: str = "zero",
        method: str = "auto",
        rngs: nnx.Rngs,
    ):
        self.dropout, self.variational, self.residual = dropout, variational, residual
        rates = Rates(recurrent_dropout, weight_drop, zoneout, zoneout_cell)
        self.out_features = features * (2 if bidirectional else 1)
        self.layers: nnx.List = nnx.List()
        for layer in range(layers):
            size = self.out_features if layer else in_features
            directions = [
                Recurrent(cell, size, features, initial_state=initial_state, rates=rates, method=method, rngs=rngs)
                for _ in range(2 if bidirectional else 1)
            ]
            self.layers.append(nnx.List(directions))

    @property
    def cell(self) -> Cell:
        """The cell of every layer."""
        return self.layers[0][0].cell

    def initial_states(self, batch: int) -> tuple[State, ...]:
        """Returns the initial state of each layer, entries `[batch, out_features]`, both directions concatenated."""
        return tuple(_join([d.initial_state(batch) for d in layer]) for layer in self.layers)

    def draw(self, rngs: nnx.Rngs | None, time: int, batch: int) -> Noise | None:
        """Draws the regularisation of each layer; None in evaluation.

        Masks `[time, batch, out_features]` for the outputs of every layer but the last, and the draws of `Recurrent`.
        """
        if rngs is None:
            return None
        shape = (time, batch, self.out_features)
        between = [draw_mask(rngs, self.dropout, shape, variational=self.variational) for _ in self.layers[1:]]
        drawn = [[direction.draw(rngs, time, batch) for direction in layer] for layer in self.layers]
        steps = [[noise.steps for noise in layer] for layer in drawn]
        return Noise((between, steps), [[noise.all for noise in layer] for layer in drawn])

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"] | Lookup,
        states: tuple[State, ...] | None = None,
        *,
        seq_lengths: Int[Array, "batch"] | None = None,
        segment_starts: Bool[Array, "time batch"] | None = None,
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "time batch out"], tuple[State, ...]]:
        """Runs every layer over `inputs` `[time, batch, in]`, or a `Lookup` of them.

        Args:
          states: one per layer; None is `initial_states`.
          seq_lengths, segment_starts: as in `rnnlab.scans.scan`; every new sequence starts from `states`.
          noise: from `draw`; None means evaluation.

        Returns:
          The last layer's outputs `[time, batch, out_features]`, and the state of each layer after the last step.
        """
        states = self.initial_states(inputs.shape[1]) if states is None else states
        segments = {"seq_lengths": seq_lengths, "segment_starts": segment_starts}
        finals = []
        for index, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            drawn: list[Noise | None] = [None, None]
            if noise is not None:
                between, steps = noise.steps
                drawn = [Noise(*of) for of in zip(steps[index], noise.all[index], strict=True)]
                inputs = apply_mask(rows(inputs), between[index - 1]) if index else inputs
            parts = zip(layer, _part(state, len(layer)), drawn, (False, True), strict=False)
            runs = [
                direction(inputs, part, noise=own, reverse=backwards, **segments)
                for direction, part, own, backwards in parts
            ]
            outputs = jnp.concatenate([out for out, _ in runs], axis=-1) if len(runs) > 1 else runs[0][0]
            inputs = outputs + rows(inputs) if self.residual and outputs.shape == inputs.shape else outputs
            finals.append(_join([final for _, final in runs]))
        return rows(inputs), tuple(finals)


def _find(name: str) -> Cell:
    try:
        return find_cell(name)
    except ValueError as error:
        raise ValueError(f"cell: {error}") from None


def _check_rates(cell: Cell, rates: Rates) -> None:
    if rates.recurrent and "R" in cell.reads_params:
        raise ValueError(f"recurrent_dropout: cell {cell.name!r} multiplies with R inside itself; use weight_drop")
    for field, rate in (("recurrent_dropout", rates.recurrent), ("weight_drop", rates.weights)):
        if rate and cell.recurrence == "none":
            raise ValueError(f"{field}: cell {cell.name!r} has no R, so it must be 0, not {rate}")


def _join(directions: list[State]) -> State:
    return tuple(jnp.concatenate(entries, axis=-1) for entries in zip(*directions, strict=True))


def _part(state: State, directions: int) -> list[State]:
    return list(zip(*(jnp.split(entry, directions, axis=-1) for entry in state), strict=True))
