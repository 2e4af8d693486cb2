"""Recurrent layers and stacks of them: the parameters of cells, run by `rnnlab.scans`."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import Cell, State, find_cell, zoneout
from rnnlab.choice import check_choice
from rnnlab.models.blocks import BLOCKS, NORMS, PreNorm, layer_sizes
from rnnlab.models.dropout import Noise, draw_mask
from rnnlab.models.embedding import Lookup, rows
from rnnlab.models.precision import einsum
from rnnlab.scans import methods_of, scan
from rnnlab.scans.product import apply_mask, are_ids

INITIAL_STATES = ("zero", "learnt")


class Rates(NamedTuple):
    """Rates of regularisation in a recurrence, each from 0 to below 1; 0 disables it.

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
      cell: a name for `find_cell` ("lstm", "rnn/diagonal"), or a `Cell`.
      in_features, features: sizes of the input and of the state.
      initial_state: "zero", or "learnt": a parameter `[features]` for each entry of the state.
      rates: regularisation in training.
      method: that of `rnnlab.scans.scan`: "auto" or one of `rnnlab.scans.methods_of(cell)`.

    Raises:
      ValueError: an unknown cell or initial state, a method that the cell does not support, features that are not a
        multiple of its heads, recurrent dropout or weight drop without an `R`, or two different rates of zoneout for a
        state that is one number.
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
        self.dtype: jnp.dtype | None = None  # of products with W and R; None: that of the parameters
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
        """Returns the cell for evaluation, with the mean over zoneout masks."""
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
        if isinstance(inputs, Lookup) and options.get("dt") is not None:
            inputs = rows(inputs)  # fewer numbers than one-hot vectors of the vocabulary
        if isinstance(inputs, Lookup):
            params["W"] = einsum("vi,io->vo", inputs.table, params["W"], dtype=self.dtype)
            inputs = inputs.ids
        if self.dtype is not None:
            params |= {name: params[name].astype(self.dtype) for name in ("W", "R") if name in params}
            inputs = inputs if are_ids(inputs) else inputs.astype(self.dtype)
        options = {"method": self.method} | options
        return scan(
            cell, params, inputs, state=state, recurrent_mask=recurrent_mask, zoneout_mask=zoneout_mask, **options
        )


class Stack(nnx.Module):
    """Stacked layers of one cell.

    Main arguments:
      cell, features, initial_state, method: as in `Recurrent`; `features` is the size of each direction.
      layers: the number of layers.
      bidirectional: run each layer in both directions and concatenate the outputs (Schuster and Paliwal 1997).
      block: the block around each layer: "plain", none; "residual", adds its input to its output where their sizes
        agree (as in Wu et al. 2016, arXiv 1609.08144); "prenorm", for deep stacks: norm, layer, gated linear unit,
        dropout, plus the block's input (`rnnlab.models.blocks.PreNorm`).

    Other arguments:
      norm: of prenorm blocks: "layer" or "batch".
      sizes: features of each layer if they differ, a sequence or text separated by commas; empty: `features` in each.
      dropout: the rate on the outputs of every layer but the last; with prenorm on the update of each block.
      variational: draw those masks once for all steps.
      recurrent_dropout, weight_drop, zoneout, zoneout_cell: as in `Rates`.

    Raises:
      ValueError: as `Recurrent`, an unknown block or norm, batch norm without prenorm, or `sizes` that do not fit.
    """

    def __init__(
        self,
        cell: str | Cell,
        in_features: int,
        features: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        block: str = "plain",
        norm: str = "layer",
        sizes: Sequence[int] | str = (),
        dropout: float = 0.0,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        zoneout_cell: float = 0.0,
        initial_state: str = "zero",
        method: str = "auto",
        rngs: nnx.Rngs,
    ):
        self.block = check_choice("block", block, BLOCKS)
        if check_choice("norm", norm, NORMS) == "batch" and block != "prenorm":
            raise ValueError(f"norm: {norm!r} requires block 'prenorm', not {block!r}")
        self.in_features, self.dropout, self.variational = in_features, dropout, variational
        rates = Rates(recurrent_dropout, weight_drop, zoneout, zoneout_cell)
        own = layer_sizes(block, features, layers, sizes)
        self.directions = 2 if bidirectional else 1
        self.widths = tuple(self.directions * size for size in own)
        self.out_features = self.widths[-1]
        reads = self.widths if block == "prenorm" else (in_features, *self.widths[:-1])
        self.layers: nnx.List = nnx.List()
        for read, size in zip(reads, own, strict=True):
            directions = [
                Recurrent(cell, read, size, initial_state=initial_state, rates=rates, method=method, rngs=rngs)
                for _ in range(self.directions)
            ]
            self.layers.append(nnx.List(directions))
        around = PreNorm(in_features, self.out_features, layers, norm=norm, rngs=rngs) if block == "prenorm" else None
        self.prenorm = nnx.data(around)

    @property
    def cell(self) -> Cell:
        """The cell of every layer."""
        return self.layers[0][0].cell

    def initial_states(self, batch: int) -> tuple[State, ...]:
        """Returns the initial state of each layer, entries `[batch, widths[layer]]`, both directions concatenated."""
        return tuple(_join([d.initial_state(batch) for d in layer]) for layer in self.layers)

    def draw(self, rngs: nnx.Rngs | None, time: int, batch: int) -> Noise | None:
        """Draws the regularisation of each layer; None in evaluation.

        Masks `[time, batch, widths[layer]]` for the outputs of every layer but the last (with prenorm for the update of
        each block), and the draws of `Recurrent`.
        """
        if rngs is None:
            return None
        dropped = self.widths if self.prenorm else self.widths[:-1]
        masks = [draw_mask(rngs, self.dropout, (time, batch, n), variational=self.variational) for n in dropped]
        drawn = [[direction.draw(rngs, time, batch) for direction in layer] for layer in self.layers]
        steps = [[noise.steps for noise in layer] for layer in drawn]
        return Noise((masks, steps), [[noise.all for noise in layer] for layer in drawn])

    def __call__(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"] | Lookup,
        states: tuple[State, ...] | None = None,
        *,
        seq_lengths: Int[Array, "batch"] | None = None,
        segment_starts: Bool[Array, "time batch"] | None = None,
        dt: Float[Array, "time batch"] | None = None,
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "time batch out"], tuple[State, ...]]:
        """Runs every layer over `inputs` `[time, batch, in]`, or a `Lookup` of them.

        Args:
          states: one per layer; None is `initial_states`.
          seq_lengths, segment_starts, dt: as in `rnnlab.scans.scan`, of every layer; every new sequence starts from
            `states`.
          noise: from `draw`; None means evaluation.

        Returns:
          The last layer's outputs `[time, batch, out_features]`, 0 in the padding unless blocks are residual, and the
          state of each layer after the last step.
        """
        states = self.initial_states(inputs.shape[1]) if states is None else states
        segments = {"seq_lengths": seq_lengths, "segment_starts": segment_starts, "dt": dt}
        if self.prenorm is None:
            return self._run_plain(inputs, states, noise, segments)
        return self._run_prenorm(self.prenorm, inputs, states, noise, segments)

    def last(
        self,
        outputs: Float[Array, "time batch out"],
        states: tuple[State, ...],
        seq_lengths: Int[Array, "batch"] | None = None,
    ) -> Float[Array, "batch out"]:
        """Returns the summary of each sequence, from the results of a call.

        That is `h` of the top layer after the last step, or after the first for the backward direction. With prenorm,
        where outputs depend on more than the state, it is the output at the last step; if bidirectional, the second
        half of the features is that at the first step.
        """
        if self.prenorm is None:
            return states[-1][0]
        ends = jnp.full(outputs.shape[1], outputs.shape[0]) if seq_lengths is None else seq_lengths
        at_end = jnp.take_along_axis(outputs, jnp.maximum(ends - 1, 0)[None, :, None], axis=0)[0]
        forward = self.out_features // self.directions
        return jnp.concatenate([at_end[:, :forward], outputs[0, :, forward:]], axis=-1)

    def _run_plain(
        self, inputs: Array | Lookup, states: tuple[State, ...], noise: Noise | None, segments: dict
    ) -> tuple[Array, tuple[State, ...]]:
        finals = []
        for index, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if noise is not None and index:
                inputs = apply_mask(rows(inputs), noise.steps[0][index - 1])
            outputs, final = _run_layer(layer, inputs, state, _of_layer(noise, index), segments)
            adds = self.block == "residual" and outputs.shape == inputs.shape
            inputs = outputs + rows(inputs) if adds else outputs
            finals.append(final)
        return rows(inputs), tuple(finals)

    def _run_prenorm(
        self, around: PreNorm, inputs: Array | Lookup, states: tuple[State, ...], noise: Noise | None, segments: dict
    ) -> tuple[Array, tuple[State, ...]]:
        lengths, training = segments["seq_lengths"], noise is not None
        valid = None if lengths is None else (jnp.arange(inputs.shape[0])[:, None] < lengths)[..., None]
        stream, finals = around.enter(inputs, valid), []
        for index, (layer, block, state) in enumerate(zip(self.layers, around.blocks, states, strict=True)):
            normed = block.before(stream, valid, training=training)
            hidden, final = _run_layer(layer, normed, state, _of_layer(noise, index), segments)
            stream += apply_mask(block.after(normed, hidden), None if noise is None else noise.steps[0][index])
            finals.append(final)
        return around.leave(stream, valid, training=training), tuple(finals)


def _of_layer(noise: Noise | None, index: int) -> list[Noise | None]:
    """The draws for each direction of a layer."""
    if noise is None:
        return [None, None]
    return [Noise(*of) for of in zip(noise.steps[1][index], noise.all[index], strict=True)]


def _run_layer(
    layer: nnx.List, inputs: Array | Lookup, state: State, noise: list[Noise | None], segments: dict
) -> tuple[Array, State]:
    """Runs each direction of a layer; returns outputs and last state, both directions concatenated."""
    parts = zip(layer, _part(state, len(layer)), noise, (False, True), strict=False)
    runs = [
        direction(inputs, part, noise=own, reverse=backwards, **segments) for direction, part, own, backwards in parts
    ]
    outputs = jnp.concatenate([out for out, _ in runs], axis=-1) if len(runs) > 1 else runs[0][0]
    return outputs, _join([final for _, final in runs])


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
