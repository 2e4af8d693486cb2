"""A recurrence parallel in time: its steps, their linearisation, and the backward pass over them.

Shared by `newton` and `associative`. A cell's `combine` is mapped over time: it sees the batch of one step, as in the
loop. Time and batch stay two axes, so a batch may be sharded over several devices.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import linear
from rnnlab.scans.jacobian import local_derivatives
from rnnlab.scans.product import apply_mask
from rnnlab.scans.recurrence import dense, recur, recur_back, transposed
from rnnlab.scans.residuals import Block, BlockGradients, Projections, StepResiduals, before_each, split
from rnnlab.scans.select import Where, enter_step, select_state, split_entered
from rnnlab.scans.sequences import Sequences, flip


class AllSteps(NamedTuple):
    """The inputs of steps, as in `Sequences`, all `[time, batch, ...]`.

    Attributes:
      a: `x W + b`, `[time, batch, gates * hidden]`.
      updates, segment_starts: as in `rnnlab.scans.sequences.Steps`.
      initial: the initial state, repeated for every step; None without segment starts, which alone need it.
      mask: the mask of `h R`, repeated for every step.
    """

    a: Array
    updates: Where
    segment_starts: Array | None
    initial: State | None
    mask: Array | None

    @classmethod
    def of(cls, given: Sequences) -> "AllSteps":
        """Makes them from sequences with `x W + b` as inputs."""
        (a, updates, starts), mask = given.steps, given.mask
        initial = None if starts is None else given.initial
        initial, mask = jax.tree.map(lambda v: jnp.broadcast_to(v, (a.shape[0], *v.shape)), (initial, mask))
        return cls(a, updates, starts, initial, mask)


def pointwise(cell: Cell, params: Params, steps: AllSteps, before: State, r: Array) -> State:
    """Returns the states after the steps, given `h R`."""

    def of_step(step: AllSteps, before: State, r: Array) -> State:
        entered = _enter(step, before)
        after = cell.combine(params, entered, step.a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        return select_state(step.updates, after, entered)

    return jax.vmap(of_step)(steps, before, r)


def project_hidden(cell: Cell, params: Params, steps: AllSteps, before: State) -> Array:
    """Returns `h R` of the steps."""
    return recur(cell, params, apply_mask(jax.vmap(_enter)(steps, before)[0], steps.mask))


def advance(cell: Cell, params: Params, steps: AllSteps, before: State) -> State:
    """Returns the states after the steps."""
    return pointwise(cell, params, steps, before, project_hidden(cell, params, steps, before))


def _enter(step: AllSteps, before: State) -> State:
    """Returns the state before one step."""
    return enter_step(step.segment_starts, before, step.initial or before)


@dataclasses.dataclass(frozen=True)
class Linearisation:
    """The form of the Jacobians of steps: one block per head if `whole`, otherwise an S x S block per unit.

    The blocks of units are exact if no unit depends on another: with a diagonal `R`, or no `R`.
    """

    cell: Cell
    whole: bool

    @property
    def exact(self) -> bool:
        """Whether this form is exact, not an approximation."""
        return self.whole or (self.cell.recurrence in ("diagonal", "none") and not self.cell.mixes_units)

    def matrices(self, params: Params, steps: AllSteps, before: State) -> linear.Matrices:
        """Returns the Jacobian of each step, in the form of `rnnlab.scans.linear`."""
        if self.cell.mixes_units:
            return self._by_autodiff(params, steps, before)
        r = project_hidden(self.cell, params, steps, before)
        by_state, by_gate = local_derivatives(
            lambda s, q: pointwise(self.cell, params, steps, s, q), before, r, len(self.cell.gates)
        )
        passes = jnp.ones_like(before[0]) if steps.mask is None else steps.mask
        if steps.segment_starts is not None:
            passes = jnp.where(steps.segment_starts[..., None], 0, passes)
        return (self._of_heads if self.whole else self._of_units)(params, by_state, by_gate, passes)

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
        """Returns S x S blocks; `passes` is the factor with which `h` enters `h R`."""
        diagonals = _diagonals(self.cell, params)
        for p, row in enumerate(by_state):
            row[0] = row[0] + passes * sum(of[p] * own for of, own in zip(by_gate, diagonals, strict=True))
        return by_state

    def _of_heads(self, params, by_state, by_gate, passes):
        """Returns blocks `[time, batch, heads, n, n]`: entry p of unit i by entry q of unit j of the same head."""
        heads = self._heads(params)
        part = passes.shape[-1] // heads

        def by_head(values: Array) -> Array:
            return values.reshape(*values.shape[:-1], heads, part)

        eye, weights = jnp.eye(part, dtype=passes.dtype), _of_head(self.cell, params, heads)
        rows = []
        for p, row in enumerate(by_state):
            blocks = [by_head(own)[..., None] * eye for own in row]
            for of, own in zip(by_gate, weights, strict=True):
                blocks[0] += by_head(of[p])[..., None] * jnp.swapaxes(own, -1, -2) * by_head(passes)[..., None, :]
            rows.append(jnp.concatenate(blocks, axis=-1))
        return jnp.concatenate(rows, axis=-2)

    def _by_autodiff(self, params, steps, before):
        def of_row(state: Array, step: AllSteps) -> Array:
            entries = tuple(entry[None, None] for entry in jnp.split(state, len(before)))
            own = jax.tree.map(lambda v: v[None, None], step)
            return jnp.concatenate(advance(self.cell, params, own, entries), axis=-1)[0, 0]

        return jax.vmap(jax.vmap(jax.jacfwd(of_row)))(jnp.concatenate(before, axis=-1), steps)[:, :, None]


def _diagonals(cell: Cell, params: Params) -> list[Array]:
    """Returns the entries of R from a unit to itself, `[hidden]` for each gate."""
    return [jnp.diagonal(own) for own in jnp.split(dense(cell, params), len(cell.gates), axis=1)]


def _of_head(cell: Cell, params: Params, heads: int) -> list[Array]:
    """Returns the blocks of R for each gate, `[heads, part (of h), part (of h R)]`."""
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
        """Makes them from the states after each step; `h` gets `dtype`."""
        pairs = zip(given.initial[1:], states[1:], strict=True)
        rest = tuple(before_each(first, entry, given.reverse) for first, entry in pairs)
        return cls(states[0].astype(dtype), rest, tuple(entry[0 if given.reverse else -1] for entry in states))


def residuals_of(cell: Cell, params: Params, projected: Sequences, found: Solution) -> StepResiduals:
    """Returns the residuals of a solution; `projected` are the sequences with `x W + b` as inputs."""
    initial, a = projected.initial, projected.steps.inputs
    hidden = before_each(initial[0], found.hidden, projected.reverse)
    before = (hidden.astype(initial[0].dtype), *found.rest_before)
    r = project_hidden(cell, params, AllSteps.of(projected), before)
    dtype = found.hidden.dtype
    rest_before = tuple(entry.astype(dtype) for entry in found.rest_before)
    return StepResiduals(found.hidden, rest_before, Projections.join(cell, a, r, dtype))


def pull_steps(
    linearisation: Linearisation, solve_block: int | None, params: Params, block: Block, d_after: State
) -> BlockGradients:
    """Pulls the gradient of the state after a block back over its steps, by one linear recurrence.

    The counterpart of `pull.pull_steps`; `solve_block` is the `block` of `linear.solve`.
    """
    cell, reverse = linearisation.cell, block.given.reverse
    time, dtype = block.hidden.shape[0], d_after[0].dtype
    sliced = jax.tree.map(lambda v: jax.lax.dynamic_slice_in_dim(v, block.offset, time).astype(dtype), block.rows)
    d_outputs, stored = sliced
    _, rest, projections = split(stored)
    a, stored_r = projections.split()
    steps = AllSteps.of(block.given.with_inputs(a).in_order())
    d_outputs, rest, stored_r, hidden = flip((d_outputs, rest, stored_r, block.hidden), reverse)
    before = (hidden.astype(dtype), *rest)
    r = project_hidden(cell, params, steps, before)
    steps = steps._replace(a=steps.a + stored_r - r)
    d_states = (d_outputs, *(jnp.zeros_like(d_outputs) for _ in d_after[1:]))
    d_states = tuple(d.at[-1].add(last) for d, last in zip(d_states, d_after, strict=True))
    matrices = linearisation.matrices(params, steps, before)
    found = linear.solve_back(matrices, linearisation.to_vectors(params, d_states), block=solve_block)
    adjoint = linearisation.to_state(found)
    read_params = {name: params[name].astype(dtype) for name in cell.combine_params}

    def combine(read_params: Params, entered: State, a: Array, r: Array) -> State:
        return pointwise(cell, read_params, steps._replace(a=a, segment_starts=None), entered, r)

    _, pull = jax.vjp(combine, read_params, jax.vmap(_enter)(steps, before), steps.a, r)
    d_params, d_entered, d_a, d_r = pull(adjoint)
    d_before, d_initial = _reach_states(cell, params, steps, d_entered, d_r)
    return BlockGradients(d_before, d_initial, d_params, *flip((d_a, d_r), reverse))


def _reach_states(cell: Cell, params: Params, steps: AllSteps, d_entered: State, d_r: Array):
    """Returns the gradients, also through `h R`, of the state before the first step and of the initial state."""
    last = 1 if steps.segment_starts is None else None  # only the first step starts from one of them
    steps, d_entered, d_r = jax.tree.map(lambda v: v[:last], (steps, d_entered, d_r))
    if "R" in params:
        d_hidden = apply_mask(recur_back(cell, transposed(cell, params), d_r), steps.mask)
        d_entered = (d_entered[0] + d_hidden, *d_entered[1:])
    d_before, d_initial = jax.vmap(split_entered)(steps.segment_starts, d_entered)
    return jax.tree.map(lambda v: v[0], d_before), jax.tree.map(lambda v: v.sum(0), d_initial)
