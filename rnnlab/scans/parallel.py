"""All steps at once: the step of many rows, its linearisation, and the backward pass by one associative scan.

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
from rnnlab.scans import linear, sequential
from rnnlab.scans.jacobian import local_derivatives
from rnnlab.scans.product import apply_mask
from rnnlab.scans.recurrence import dense, recur, recur_back, transposed
from rnnlab.scans.select import Where, enter_step, select_state, split_entered


class Steps(NamedTuple):
    """What steps are given: `x W + b` `[rows, gates * hidden]`, what takes its new value, where a sequence starts anew
    and from which state, and the mask of `h R`, each with all rows, or None."""

    a: Array
    updates: Where
    resets: Array | None
    fresh: State | None
    mask: Array | None

    @classmethod
    def over(cls, a: Array, updates: Where, resets: Array | None, first: State, mask: Array | None) -> "Steps":
        """From `[time, batch, ...]`, and the first state and the mask `[batch, hidden]`."""
        fresh = None if resets is None else first
        fresh, mask = jax.tree.map(lambda v: jnp.broadcast_to(v, (a.shape[0], *v.shape)), (fresh, mask))
        return cls(*jax.tree.map(as_rows, (a, updates, resets, fresh, mask)))


def as_rows(values: Array) -> Array:
    """`[time, batch, ...]` as `[time * batch, ...]`."""
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])


def pointwise(cell: Cell, params: Params, steps: Steps, before: State, r: Array) -> State:
    """The states after the steps, given `h R`."""
    entered = _enter(steps, before)
    after = cell.combine(params, entered, steps.a, r)
    after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
    return select_state(steps.updates, after, entered)


def project_hidden(cell: Cell, params: Params, steps: Steps, before: State) -> Array:
    """`h R` of the steps."""
    return recur(cell, params, apply_mask(_enter(steps, before)[0], steps.mask))


def advance(cell: Cell, params: Params, steps: Steps, before: State) -> State:
    """The states after the steps."""
    return pointwise(cell, params, steps, before, project_hidden(cell, params, steps, before))


def _enter(steps: Steps, before: State) -> State:
    return enter_step(steps.resets, before, steps.fresh or before)


@dataclasses.dataclass(frozen=True)
class Linearisation:
    """How the Jacobians of steps are written down: whole, a block for each head, or an S x S block for each unit.

    The blocks of units are exact where units meet nowhere: with a diagonal `R`, or none.
    """

    cell: Cell
    whole: bool

    @property
    def exact(self) -> bool:
        """Whether it is the Jacobian, and not an approximation."""
        return self.whole or (self.cell.recurrence in ("diagonal", "none") and not self.cell.mixes_units)

    def matrices(self, params: Params, steps: Steps, before: State, time: int) -> linear.Matrices:
        """Of each step, as `rnnlab.scans.linear` has them."""
        if self.cell.mixes_units:
            return self._by_autodiff(params, steps, before, time)
        r = project_hidden(self.cell, params, steps, before)
        by_state, by_gate = local_derivatives(
            lambda s, q: pointwise(self.cell, params, steps, s, q), before, r, len(self.cell.gates)
        )
        read = jnp.ones_like(before[0]) if steps.mask is None else steps.mask
        if steps.resets is not None:
            read = jnp.where(steps.resets[:, None], 0, read)
        return (self._of_heads if self.whole else self._of_units)(params, by_state, by_gate, read, time)

    def to_vectors(self, params: Params, state: State) -> State | Array:
        """A state of entries `[..., hidden]` as `linear` takes it: itself, or `[..., heads, S * hidden / heads]`."""
        if not self.whole:
            return state
        heads = self._heads(params)
        by_head = [entry.reshape(*entry.shape[:-1], heads, entry.shape[-1] // heads) for entry in state]
        return jnp.concatenate(by_head, axis=-1)

    def to_state(self, vectors: State | Array) -> State:
        """The other way round."""
        if isinstance(vectors, tuple):
            return vectors
        entries = jnp.split(vectors, len(self.cell.state_names), axis=-1)
        return tuple(entry.reshape(*entry.shape[:-2], entry.shape[-2] * entry.shape[-1]) for entry in entries)

    def _heads(self, params: Params) -> int:
        return 1 if self.cell.mixes_units else self.cell.heads(self.cell.features(params))

    def _of_units(self, params, by_state, by_gate, read, time):
        diagonals = _diagonals(self.cell, params)
        for p, row in enumerate(by_state):
            row[0] = row[0] + read * sum(of[p] * own for of, own in zip(by_gate, diagonals, strict=True))
        return jax.tree.map(lambda v: v.reshape(time, -1, v.shape[-1]), by_state)

    def _of_heads(self, params, by_state, by_gate, read, time):
        """Blocks `[time, batch, heads, n, n]`: entry p of unit i by entry q of unit j of the same head."""
        heads = self._heads(params)
        part = read.shape[-1] // heads

        def by_head(values: Array) -> Array:
            return values.reshape(-1, heads, part)

        eye, weights = jnp.eye(part, dtype=read.dtype), _of_head(self.cell, params, heads)
        rows = []
        for p, row in enumerate(by_state):
            blocks = [by_head(own)[..., None] * eye for own in row]
            for of, own in zip(by_gate, weights, strict=True):
                blocks[0] += by_head(of[p])[..., None] * jnp.swapaxes(own, -1, -2) * by_head(read)[..., None, :]
            rows.append(jnp.concatenate(blocks, axis=-1))
        whole = jnp.concatenate(rows, axis=-2)
        return whole.reshape(time, -1, *whole.shape[1:])

    def _by_autodiff(self, params, steps, before, time):
        def of_row(row: Array, given: Steps) -> Array:
            state = tuple(entry[None] for entry in jnp.split(row, len(before)))
            own = jax.tree.map(lambda v: v[None], given)
            return jnp.concatenate(advance(self.cell, params, own, state), axis=-1)[0]

        whole = jax.vmap(jax.jacfwd(of_row))(jnp.concatenate(before, axis=-1), steps)
        return whole.reshape(time, -1, 1, *whole.shape[1:])


def _diagonals(cell: Cell, params: Params) -> list[Array]:
    """R of a unit with itself, `[hidden]` for each gate."""
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
    """`h` after each step `[time, batch, hidden]`, the rest of the state before each, and the state after the last."""

    hidden: Array
    rest_before: State
    final: State

    @classmethod
    def of_states(cls, first: State, states: State, reverse: bool, dtype) -> "Solution":
        """From the states after each step."""
        pairs = zip(first[1:], states[1:], strict=True)
        rest = tuple(sequential.before(early, entry, reverse) for early, entry in pairs)
        return cls(states[0].astype(dtype), rest, tuple(entry[0 if reverse else -1] for entry in states))


def residuals(cell: Cell, params: Params, a: Array, masks: tuple, first: State, found: Solution, reverse: bool):
    """What `sequential.backward` needs to keep: the entries of the state, and the projections of each step."""
    hidden = sequential.before(first[0], found.hidden, reverse)
    before = jax.tree.map(as_rows, (hidden.astype(first[0].dtype), *found.rest_before))
    updates, resets, mask = masks
    steps = Steps.over(a, updates, resets, first, mask)
    r = project_hidden(cell, params, steps, before).reshape(a.shape)
    dtype = found.hidden.dtype
    rest_before = tuple(entry.astype(dtype) for entry in found.rest_before)
    return found.hidden, rest_before, sequential.join(cell, a, r, dtype)


def pull_steps(
    linearisation: Linearisation, block: int | None, cell: Cell, params, masks, hidden, rows, offset, d_after, reverse
):
    """The backward pass over the steps of a block, all at once; arguments and results as in `sequential`."""
    time, (updates, resets, first, mask), dtype = hidden.shape[0], masks, d_after[0].dtype

    def in_order(values):
        return jax.tree.map(lambda v: v[::-1] if reverse else v, values)

    sliced = jax.tree.map(lambda v: jax.lax.dynamic_slice_in_dim(v, offset, time).astype(dtype), rows)
    d_outputs, rest, projections = in_order(sliced)
    before = tuple(as_rows(entry) for entry in (in_order(hidden).astype(dtype), *rest))
    a, joined = sequential.part(*projections)
    updates, resets = in_order((updates, resets))
    steps = Steps.over(a, updates, resets, first, mask)
    r = project_hidden(cell, params, steps, before)
    steps = steps._replace(a=steps.a + as_rows(joined) - r)
    d_states = (d_outputs, *(jnp.zeros_like(d_outputs) for _ in d_after[1:]))
    d_states = tuple(d.at[-1].add(last) for d, last in zip(d_states, d_after, strict=True))
    matrices = linearisation.matrices(params, steps, before, time)
    found = linear.solve_back(matrices, linearisation.to_vectors(params, d_states), block=block)
    adjoint = tuple(as_rows(entry) for entry in linearisation.to_state(found))
    read = {name: params[name].astype(dtype) for name in cell.combine_params}

    def combine(read: Params, entered: State, a: Array, r: Array) -> State:
        return pointwise(cell, read, steps._replace(a=a, resets=None), entered, r)

    _, pull = jax.vjp(combine, read, _enter(steps, before), steps.a, r)
    d_read, d_entered, d_a, d_r = pull(adjoint)
    d_before, d_fresh = _reach_states(cell, params, steps, d_entered, d_r, time)
    return d_before, d_fresh, d_read, *in_order(tuple(v.reshape(time, -1, v.shape[-1]) for v in (d_a, d_r)))


def _reach_states(cell: Cell, params: Params, steps: Steps, d_entered: State, d_r: Array, time: int):
    """The gradients, by `h R`, too, of the state before the first step and of the one that resets go to."""
    if steps.resets is None:  # only the first step starts from one of them
        first_rows = functools.partial(jax.tree.map, lambda v: v.reshape(time, -1, v.shape[-1])[0])
        steps, d_entered, d_r = first_rows((steps._replace(updates=None), d_entered, d_r))
    if "R" in params:
        d_hidden = apply_mask(recur_back(cell, transposed(cell, params), d_r), steps.mask)
        d_entered = (d_entered[0] + d_hidden, *d_entered[1:])
    d_before, d_fresh = split_entered(steps.resets, d_entered)
    if d_fresh is None:
        return d_before, None
    d_before, d_fresh = jax.tree.map(lambda v: v.reshape(time, -1, v.shape[-1]), (d_before, d_fresh))
    return jax.tree.map(lambda v: v[0], d_before), jax.tree.map(lambda v: v.sum(0), d_fresh)
