"""The backward loop over steps, whose only carry is the gradient of the state."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.ahead import split_known
from rnnlab.scans.loop import read
from rnnlab.scans.plan import Plan, is_known
from rnnlab.scans.product import apply_mask
from rnnlab.scans.recurrence import recur_back, transposed
from rnnlab.scans.residuals import Block, BlockGradients, Joined, Projections, split
from rnnlab.scans.select import enter_step, select_state, split_entered
from rnnlab.scans.sequences import Sequences

# Steps from which a transposed copy of R before the backward loop costs less than transposed products in it (measured).
_WORTH_A_COPY = 32

Linear = Callable[[State], tuple[Params, State, Projections]]  # the transposed derivative of a step


def pull_steps(cell: Cell, plan: Plan, params: Params, block: Block, d_after: State) -> BlockGradients:
    """Pulls the gradient of the state after a block back over its steps.

    One loop; if `plan.pull` is "block", it is followed by the rest for all steps together, and if `plan.ahead` it comes
    after the derivatives of `combine` at all steps.
    """
    dtype, masks, steps = d_after[0].dtype, block.given.steps[1:], block.hidden.shape[0]
    pull, to_params = _prepare(cell, plan, params, block, dtype)
    linear = jax.vmap(pull.linearise)(*_rows(block, dtype), masks[1]) if plan.ahead else None

    def step(carry, at_step):
        d_after, d_initial, d_params = carry
        at, h, own_masks, own = at_step
        d_output, stored = jax.tree.map(lambda v: read(cell, plan, v, at, h.shape[-1]).astype(dtype), block.rows)
        _, rest, projections = split(stored)
        d_after = (d_after[0] + d_output, *d_after[1:])
        own = pull.linearise((h.astype(dtype), *rest), projections, own_masks[1]) if own is None else own
        d_entered, d_params_step, d_projections = pull(own, d_after, own_masks[0])
        d_before, d_initial_step = split_entered(own_masks[1], d_entered)
        d_initial = jax.tree.map(jnp.add, d_initial, d_initial_step)
        found: Any = d_after
        if plan.pull == "step":
            d_params, found = jax.tree.map(jnp.add, d_params, d_params_step), d_projections
        return (d_before, d_initial, d_params), (Joined.of(found, h.shape[-1], dtype) if plan.joined else found)

    no_initial = None if masks[1] is None else jax.tree.map(jnp.zeros_like, d_after)
    carry = (d_after, no_initial, jax.tree.map(jnp.zeros_like, pull.read_params))
    at_steps = (block.offset + jnp.arange(steps), block.hidden, masks, linear)
    (d_before, d_initial, d_params), found = jax.lax.scan(
        step, carry, at_steps, reverse=not block.given.reverse, unroll=plan.unroll
    )
    found = split(found)
    if plan.pull == "block":
        linear = jax.vmap(pull.linearise)(*_rows(block, dtype), masks[1]) if linear is None else linear
        _, d_params, found = jax.vmap(pull)(linear, found, masks[0])
        d_params = jax.tree.map(lambda v: v.sum(0), d_params)
    return BlockGradients(d_before, d_initial, to_params(d_params), *found.split_gradient())


@dataclasses.dataclass(frozen=True)
class _Pull:
    """Pulls gradients back over one step.

    Attributes:
      cell, params, given: of the scan.
      transposed: `R`, transposed; None: each step transposes it.
      combine: `(read_params, entered, projections) -> state`.
      read_params: what `combine` reads.
    """

    cell: Cell
    params: Params
    given: Sequences
    transposed: Array | None
    combine: Callable[[Any, State, Projections], State]
    read_params: Any

    def linearise(self, before: State, projections: Projections, starts: Array | None) -> Linear:
        """Differentiates `combine` at a step."""
        entered = enter_step(starts, before, self.given.initial)
        return jax.vjp(self.combine, self.read_params, entered, projections)[1]

    def __call__(self, linear: Linear, d_after: State, updated: Any) -> tuple[State, Any, Projections]:
        """Returns the gradients of the state that enters the step, of `read_params`, and of the projections."""
        zeros = jax.tree.map(jnp.zeros_like, d_after)
        d_params, d_entered, d_projections = linear(select_state(updated, d_after, zeros))
        _, d_r = d_projections.split_gradient()
        if "R" in self.params:
            weights = transposed(self.cell, self.params) if self.transposed is None else self.transposed
            d_hidden = recur_back(self.cell, weights, d_r)
            d_entered = (d_entered[0] + apply_mask(d_hidden, self.given.mask), *d_entered[1:])
        if updated is not None:
            d_entered = jax.tree.map(jnp.add, d_entered, select_state(updated, zeros, d_after))
        return d_entered, d_params, d_projections


def _prepare(
    cell: Cell, plan: Plan, params: Params, block: Block, dtype: jnp.dtype
) -> tuple[_Pull, Callable[[Any], Params]]:
    """Returns how to pull over a step, and the map from gradients of its `read_params` to those of parameters."""
    steps = block.hidden.shape[0]
    many = not is_known(steps) or steps >= _WORTH_A_COPY
    copied = transposed(cell, params) if "R" in params and many else None
    read_params = {name: params[name].astype(dtype) for name in cell.combine_params}

    def combine(read_params: Params, entered: State, projections: Projections) -> State:
        after = cell.combine(read_params, entered, *projections.split())
        return tuple(new.astype(old.dtype) for new, old in zip(after, entered, strict=True))

    if not plan.ahead:
        return _Pull(cell, params, block.given, copied, combine, read_params), lambda d_params: d_params
    of_step = jax.tree.map(lambda v: v[0], _rows(block, dtype))
    of_params, rest = split_known(lambda own, given: combine(own, *given), read_params, of_step)
    constants, pull_params = jax.vjp(of_params, read_params)
    pull = _Pull(cell, params, block.given, copied, lambda own, *given: rest(own, given), constants)
    return pull, lambda d_constants: pull_params(d_constants)[0]


def _rows(block: Block, dtype: jnp.dtype) -> tuple[State, Projections]:
    """Returns the states before all steps of a block, and the projections."""
    steps = block.hidden.shape[0]
    stored = jax.tree.map(lambda v: jax.lax.dynamic_slice_in_dim(v, block.offset, steps).astype(dtype), block.rows[1])
    _, rest, projections = split(stored)
    return (block.hidden.astype(dtype), *rest), projections
