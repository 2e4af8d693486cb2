"""A recurrence in parallel over time: many steps as one batch, their linearisation, and the backward pass over them.

What `newton` and `associative` share. Steps and sequences are rows here, `[time * batch, ...]`: a cell's `combine` sees
nothing but a large batch.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import linear
from rnnlab.scans.jacobian import local_derivatives
from rnnlab.scans.product import apply_mask
from rnnlab.scans.recurrence import dense, recur, recur_back, transposed
from rnnlab.scans.residuals import Block, BlockGradients, Projections, StepResiduals, before_each
from rnnlab.scans.select import Where, enter_step, select_state, split_entered
from rnnlab.scans.sequences import Sequences, flip


class Rows(NamedTuple):
    """What is given for steps, as in `Sequences`, with a row for each step of each sequence.

    Attributes:
      a: `x W + b`, `[rows, gates * hidden]`.
      updates, segment_starts: as in `rnnlab.scans.sequences.Steps`, time and batch as one.
      initial: the initial state, repeated for every step; None without segment starts, which alone lead to it.
      mask: the mask of `h R`, repeated for every step.
    """

    a: Array
    updates: Where
    segment_starts: Array | None
    initial: State | None
    mask: Array | None

    @classmethod
    def of(cls, given: Sequences) -> "Rows":
        """From sequences whose inputs are `x W + b`."""
        (a, updates, starts), mask = given.steps, given.mask
        initial = None if starts is None else given.initial
        initial, mask = jax.tree.map(lambda v: jnp.broadcast_to(v, (a.shape[0], *v.shape)), (initial, mask))
        return cls(*jax.tree.map(as_rows, (a, updates, starts, initial, mask)))


def as_rows(values: Array) -> Array:
    """Returns `[time, batch, ...]` as `[time * batch, ...]`."""
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])


def pointwise(cell: Cell, params: Params, rows: Rows, before: State, r: Array) -> State:
    """Returns the states after the steps, given `h R`."""
    entered = _enter(rows, before)
    after = cell.combine(params, entered, rows.a, r)
    after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
    return select_state(rows.updates, after, entered)


def project_hidden(cell: Cell, params: Params, rows: Rows, before: State) -> Array:
    """Returns `h R` of the steps."""
    return recur(cell, params, apply_mask(_enter(rows, before)[0], rows.mask))


def advance(cell: Cell, params: Params, rows: Rows, before: State) -> State:
    """Returns the states after the steps."""
    return pointwise(cell, params, rows, before, project_hidden(cell, params, rows, before))


def _enter(rows: Rows, before: State) -> State:
    return enter_step(rows.segment_starts, before, rows.initial or before)


@dataclasses.dataclass(frozen=True)
class Linearisation:
    """The form of the Jacobians of steps: `whole`, a block for each head, or else an S x S block for each unit.

    The blocks of units are exact if no unit depends on another: with a diagonal `R`, or none.
    """

    cell: Cell
    whole: bool

    @property
    def exact(self) -> bool:
        """Whether this form is exact, not an approximation."""
        return self.whole or (self.cell.recurrence in ("diagonal", "none") and not self.cell.mixes_units)

    def matrices(self, params: Params, rows: Rows, before: State, time: int) -> linear.Matrices:
        """Returns the Jacobian of each step, in the form of `rnnlab.scans.linear`."""
        if self.cell.mixes_units:
            return self._by_autodiff(params, rows, before, time)
        r = project_hidden(self.cell, params, rows, before)
        by_state, by_gate = local_derivatives(
            lambda s, q: pointwise(self.cell, params, rows, s, q), before, r, len(self.cell.gates)
        )
        passes = jnp.ones_like(before[0]) if rows.mask is None else rows.mask
        if rows.segment_starts is not None:
            passes = jnp.where(rows.segment_starts[:, None], 0, passes)
        of_rows = (self._of_heads if self.whole else self._of_units)(params, by_state, by_gate, passes)
        return jax.tree.map(lambda v: v.reshape(time, -1, *v.shape[1:]), of_rows)

    def to_vectors(self, params: Params, state: State) -> State | Array:
        """Returns a state in the form of `linear`: entries `[..., hidden]`, or `[..., heads, S * hidden / heads]`."""
        if not self.whole:
            return state
        heads = self._heads(params)
        by_head = [entry.reshape(*entry.shape[:-1], heads, entry.shape[-1] // heads) for entry in state]
        return jnp.concatenate(by_head, axis=-1)

    def to_state(self, vectors: State | Array) -> State:
        """Returns the state, from the form of `linear`."""
        if isinstance(vectors, tuple):
            return vectors
        entries = jnp.split(vectors, len(self.cell.state_names), axis=-1)
        return tuple(entry.reshape(*entry.shape[:-2], entry.shape[-2] * entry.shape[-1]) for entry in entries)

    def _heads(self, params: Params) -> int:
        return 1 if self.cell.mixes_units else self.cell.heads(self.cell.features(params))

    def _of_units(self, params, by_state, by_gate, passes):
        """S x S blocks; `passes` is the factor with which `h` enters `h R`."""
        diagonals = _diagonals(self.cell, params)
        for p, row in enumerate(by_state):
            row[0] = row[0] + passes * sum(of[p] * own for of, own in zip(by_gate, diagonals, strict=True))
        return by_state

    def _of_heads(self, params, by_state, by_gate, passes):
        """Blocks `[rows, heads, n, n]`: entry p of unit i by entry q of unit j of the same head."""
        heads = self._heads(params)
        part = passes.shape[-1] // heads

        def by_head(values: Array) -> Array:
            return values.reshape(-1, heads, part)

        eye, weights = jnp.eye(part, dtype=passes.dtype), _of_head(self.cell, params, heads)
        rows = []
        for p, row in enumerate(by_state):
            blocks = [by_head(own)[..., None] * eye for own in row]
            for of, own in zip(by_gate, weights, strict=True):
                blocks[0] += by_head(of[p])[..., None] * jnp.swapaxes(own, -1, -2) * by_head(passes)[..., None, :]
            rows.append(jnp.concatenate(blocks, axis=-1))
        return jnp.concatenate(rows, axis=-2)

    def _by_autodiff(self, params, rows, before, time):
        def of_row(row: Array, given: Rows) -> Array:
            state = tuple(entry[None] for entry in jnp.split(row, len(before)))
            own = jax.tree.map(lambda v: v[None], given)
            return jnp.concatenate(advance(self.cell, params, own, state), axis=-1)[0]

        whole = jax.vmap(jax.jacfwd(of_row))(jnp.concatenate(before, axis=-1), rows)
        return whole.reshape(time, -1, 1, *whole.shape[1:])


def _diagonals(cell: Cell, params: Params) -> list[Array]:
    """The entries of R from a unit to itself, `[hidden]` for each gate."""
    return [jnp.diagonal(own) for own in jnp.split(dense(cell, params), len(cell.gates), axis=1)]


def _of_head(cell: Cell, params: Params, heads: int) -> list[Array]:
    """The blocks of R for each gate, `[heads, part (of h), part (of h R)]`."""
    part = cell.features(params) // heads
    places = jnp.arange(heads)
    found = []
    for own in jnp.split(dense(cell, params), len(cell.gates), axis=1):
        found.append(own.reshape(heads, part, heads, part)[places, :, places, :])
    return found


class Solution(NamedTuple):
    """The states of all steps.

    Attributes:
      hidden: `h` after each step, `[time, batch, hidden]`.
      rest_before: the rest of the state before each step.
      final: the state after the last step.
    """

    hidden: Array
    rest_before: State
    final: State

    @classmethod
    def of_states(cls, given: Sequences, states: State, dtype: jnp.dtype) -> "Solution":
        """From the states after each step; `h` is to have `dtype`."""
        pairs = zip(given.initial[1:], states[1:], strict=True)
        rest = tuple(before_each(first, entry, given.reverse) for first, entry in pairs)
        return cls(states[0].astype(dtype), rest, tuple(entry[0 if given.reverse else -1] for entry in states))


def residuals_of(cell: Cell, params: Params, projected: Sequences, found: Solution) -> StepResiduals:
    """Returns the residuals of a solution; `projected` are the sequences with `x W + b` as inputs."""
    initial, a = projected.initial, projected.steps.inputs
    hidden = before_each(initial[0], found.hidden, projected.reverse)
    before = jax.tree.map(as_rows, (hidden.astype(initial[0].dtype), *found.rest_before))
    r = project_hidden(cell, params, Rows.of(projected), before).reshape(a.shape)
    dtype = found.hidden.dtype
    rest_before = tuple(entry.astype(dtype) for entry in found.rest_before)
    return StepResiduals(found.hidden, rest_before, Projections.join(cell, a, r, dtype))


def pull_steps(
    linearisation: Linearisation, solve_block: int | None, params: Params, block: Block, d_after: State
) -> BlockGradients:
    """Pulls the gradient of the state after a block back over its steps, by one linear recurrence.

    The counterpart of `loop.pull_steps`; `solve_block` is the `block` of `linear.solve`.
    """
    cell, reverse = linearisation.cell, block.given.reverse
    time, dtype = block.hidden.shape[0], d_after[0].dtype
    sliced = jax.tree.map(lambda v: jax.lax.dynamic_slice_in_dim(v, block.offset, time).astype(dtype), block.rows)
    d_outputs, rest, projections = sliced
    a, stored_r = projections.split()
    rows = Rows.of(block.given.with_inputs(a).in_order())
    d_outputs, rest, stored_r, hidden = flip((d_outputs, rest, stored_r, block.hidden), reverse)
    before = tuple(as_rows(entry) for entry in (hidden.astype(dtype), *rest))
    r = project_hidden(cell, params, rows, before)
    rows = rows._replace(a=rows.a + as_rows(stored_r) - r)
    d_states = (d_outputs, *(jnp.zeros_like(d_outputs) for _ in d_after[1:]))
    d_states = tuple(d.at[-1].add(last) for d, last in zip(d_states, d_after, strict=True))
    matrices = linearisation.matrices(params, rows, before, time)
    found = linear.solve_back(matrices, linearisation.to_vectors(params, d_states), block=solve_block)
    adjoint = tuple(as_rows(entry) for entry in linearisation.to_state(found))
    read_params = {name: params[name].astype(dtype) for name in cell.combine_params}

    def combine(read_params: Params, entered: State, a: Array, r: Array) -> State:
        return pointwise(cell, read_params, rows._replace(a=a, segment_starts=None), entered, r)

    _, pull = jax.vjp(combine, read_params, _enter(rows, before), rows.a, r)
    d_params, d_entered, d_a, d_r = pull(adjoint)
    d_before, d_initial = _reach_states(cell, params, rows, d_entered, d_r, time=time)
    d_projections = flip(tuple(v.reshape(time, -1, v.shape[-1]) for v in (d_a, d_r)), reverse)
    return BlockGradients(d_before, d_initial, d_params, *d_projections)


def _reach_states(cell: Cell, params: Params, rows: Rows, d_entered: State, d_r: Array, *, time: int):
    """The gradients, through `h R` too, of the state before the first step and of the initial state."""
    if rows.segment_starts is None:  # only the first step starts from one of them
        first_rows = functools.partial(jax.tree.map, lambda v: v.reshape(time, -1, v.shape[-1])[0])
        rows, d_entered, d_r = first_rows((rows._replace(updates=None), d_entered, d_r))
    if "R" in params:
        d_hidden = apply_mask(recur_back(cell, transposed(cell, params), d_r), rows.mask)
        d_entered = (d_entered[0] + d_hidden, *d_entered[1:])
    d_before, d_initial = split_entered(rows.segment_starts, d_entered)
    if d_initial is None:
        return d_before, None
    d_before, d_initial = jax.tree.map(lambda v: v.reshape(time, -1, v.shape[-1]), (d_before, d_initial))
    return jax.tree.map(lambda v: v[0], d_before), jax.tree.map(lambda v: v.sum(0), d_initial)
