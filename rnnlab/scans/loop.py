"""The sequential loop over steps: forwards, and backwards with only the state's gradient as carry."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.ahead import split as partial_evaluation
from rnnlab.scans.plan import Plan, is_known
from rnnlab.scans.product import apply_mask, project
from rnnlab.scans.recurrence import recur, recur_back, transposed, weights_dtype
from rnnlab.scans.residuals import Block, BlockGradients, Joined, Projections, StepResiduals, split
from rnnlab.scans.select import enter_step, select_state, split_entered
from rnnlab.scans.sequences import Sequences, Steps

# Steps from which a transposed copy of R before the backward loop costs less than transposed products in it (measured).
_WORTH_A_COPY = 32


def run_blocks(
    cell: Cell, plan: Plan, params: Params, given: Sequences, *, store: bool
) -> tuple[State, State, StepResiduals]:
    """Runs all steps.

    Args:
      plan: its block divides the time.
      store: whether to return all residuals, or only `h`.

    Returns:
      The last state, the states between blocks (() if no blocks were needed), and the residuals of each step.
    """

    def block(entered: State, steps: Steps):
        own = dataclasses.replace(given, steps=steps)
        left, stored = run_block(cell, plan, params, own, entered, store=store)
        return left, (entered, stored)

    if plan.recompute or plan.project == "block":
        blocks = in_blocks(given.steps, plan.block)
        final, (entered, stored) = jax.lax.scan(block, given.initial, blocks, reverse=given.reverse)
        return final, entered, jax.tree.map(lambda v: v.reshape(v.shape[0] * v.shape[1], *v.shape[2:]), stored)
    # Only the backward pass needs blocks: one flat loop writes each row directly to its place.
    final, stored = run_block(cell, plan, params, given, given.initial, store=store)
    return final, (), stored


def run_block(
    cell: Cell, plan: Plan, params: Params, given: Sequences, entered: State, *, store: bool
) -> tuple[State, StepResiduals]:
    """Runs consecutive steps from the state `entered`; returns the last state and the residuals of each step."""
    inputs, *masks = given.steps
    dtype = given.dtype(params)
    projected = project(params, inputs) if plan.project == "block" else None
    known: Projections | None = None
    if projected is not None and cell.recurrence == "none":
        known = Projections.join(cell, projected, jnp.zeros_like(projected), dtype)
    ahead, combine = None, functools.partial(cell.combine, params)
    if plan.ahead and projected is not None:
        ahead, combine = _combine_ahead(cell, params, entered, projected)

    def operand(state: State) -> Array | None:
        """Returns what the product with `R` reads; None: it is computed from the state, before that product."""
        rounds = plan.joined and "R" in params
        return apply_mask(state[0], given.mask).astype(weights_dtype(params)) if rounds else None

    initial_operand = operand(given.initial)

    def step(carry, at_step):
        before, rounded = carry
        at, x, updated, starts, values = at_step
        entered = enter_step(starts, before, given.initial)
        if rounded is None:
            rounded = apply_mask(entered[0], given.mask)
        else:
            rounded, = enter_step(starts, (rounded,), (initial_operand,))
        a = project(params, x) if projected is None else _read(cell, plan, projected, at, entered[0].shape[-1])
        r = recur(cell, params, rounded)
        after = combine(entered, a, r) if ahead is None else combine(values, (entered, r))
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(updated, after, entered)
        rest_before = before[1:] if store else ()
        projections = Projections.join(cell, a, r, dtype) if store and known is None else ()
        stored = StepResiduals(after[0].astype(dtype), rest_before, projections)
        return (after, operand(after)), (Joined.of(jax.tree.map(lambda v: v.astype(dtype), stored), after[0].shape[-1]) if plan.joined else stored)

    at_steps = (jnp.arange(inputs.shape[0]), inputs if projected is None else None, *masks, ahead)
    carry = (entered, operand(entered))
    (final, _), stored = jax.lax.scan(step, carry, at_steps, reverse=given.reverse, unroll=plan.unroll)
    if store and known is not None:
        stored = split(stored)._replace(projections=known)
    return final, stored


def _combine_ahead(cell: Cell, params: Params, state: State, projected: Array):
    """Returns the values for each step that do not depend on the state, and `(values, (state, r)) -> state`."""
    r = jax.eval_shape(lambda h: recur(cell, params, h), state[0])
    own = {name: params[name] for name in cell.combine_params}
    first, rest = partial_evaluation(lambda params, of: cell.combine(params, *of), own, (state, projected[0], r))
    constants = first(own)
    first, rest = partial_evaluation(
        lambda a, of, rest=rest: rest(constants, (of[0], a, of[1])), projected[0], (state, r)
    )
    return jax.vmap(first)(projected), rest


def pull_steps(cell: Cell, plan: Plan, params: Params, block: Block, d_after: State) -> BlockGradients:
    """Pulls the gradient of the state after a block back over its steps.

    One loop, followed, if `plan.pull` is "block", by the rest for all steps together.
    """
    dtype = d_after[0].dtype
    given = block.given
    step_masks = given.steps[1:]
    read_params = {name: params[name].astype(dtype) for name in cell.combine_params}
    steps = block.hidden.shape[0]
    many = not is_known(steps) or steps >= _WORTH_A_COPY
    copied = transposed(cell, params) if "R" in params and many else None

    def combine(read_params: Params, entered: State, projections: Projections) -> State:
        after = cell.combine(read_params, entered, *projections.split())
        return tuple(new.astype(old.dtype) for new, old in zip(after, entered, strict=True))

    def all_rows():
        _, rest, projections = split(jax.tree.map(
            lambda v: jax.lax.dynamic_slice_in_dim(v, block.offset, steps).astype(dtype), block.rows[1]
        ))
        return (block.hidden.astype(dtype), *rest), projections

    def linearise(before: State, projections: Projections, starts):
        entered = enter_step(starts, before, given.initial)
        return jax.vjp(combine, read_params, entered, projections)[1]

    def pull_step(d_after: State, pull, updated, starts):
        """Returns the gradients of the state before the step, of the parameters, and of the projections."""
        zeros = jax.tree.map(jnp.zeros_like, d_after)
        d_params, d_entered, d_projections = pull(select_state(updated, d_after, zeros))
        _, d_r = d_projections.split_gradient()
        if "R" in params:
            d_hidden = recur_back(cell, transposed(cell, params) if copied is None else copied, d_r)
            d_entered = (d_entered[0] + apply_mask(d_hidden, given.mask), *d_entered[1:])
        if updated is not None:
            d_entered = jax.tree.map(jnp.add, d_entered, select_state(updated, zeros, d_after))
        return d_entered, d_params, d_projections

    pull_params = None
    pulls = None
    if plan.ahead:
        before, projections = all_rows()
        of_row = jax.tree.map(lambda v: v[0], (before, projections))
        first, rest_of = partial_evaluation(lambda p, of: combine(p, *of), read_params, of_row)
        read_params, pull_params = jax.vjp(first, read_params)
        combine = lambda p, *of: rest_of(p, of)
        pulls = jax.vmap(linearise)(before, projections, step_masks[1])

    def step(carry, at_step):
        d_after, d_initial, d_params = carry
        at, h, own_masks, pull = at_step
        d_output, stored = jax.tree.map(lambda v: _read(cell, plan, v, at, h.shape[-1]).astype(dtype), block.rows)
        _, rest, projections = split(stored)
        d_after = (d_after[0] + d_output, *d_after[1:])
        if pull is None:
            pull = linearise((h.astype(dtype), *rest), projections, own_masks[1])
        d_entered, d_params_step, d_projections = pull_step(d_after, pull, *own_masks)
        d_before, d_initial_step = split_entered(own_masks[1], d_entered)
        d_initial = jax.tree.map(jnp.add, d_initial, d_initial_step)
        if plan.pull == "block":
            return (d_before, d_initial, d_params), (Joined.of(d_after, h.shape[-1]) if plan.joined else d_after)
        return (d_before, d_initial, jax.tree.map(jnp.add, d_params, d_params_step)), (Joined.of(d_projections, h.shape[-1]) if plan.joined else d_projections)

    no_initial = None if given.steps.segment_starts is None else jax.tree.map(jnp.zeros_like, d_after)
    carry = (d_after, no_initial, jax.tree.map(jnp.zeros_like, read_params))
    at_steps = (block.offset + jnp.arange(steps), block.hidden, step_masks, pulls)
    (d_before, d_initial, d_params), found = jax.lax.scan(
        step, carry, at_steps, reverse=not given.reverse, unroll=plan.unroll
    )
    found = split(found)
    if plan.pull == "block":
        if pulls is None:
            before, projections = all_rows()
            _, d_params, found = jax.vmap(lambda d, b, p, *m: pull_step(d, linearise(b, p, m[1]), *m))(found, before, projections, *step_masks)
        else:
            _, d_params, found = jax.vmap(pull_step)(found, pulls, *step_masks)
        d_params = jax.tree.map(lambda v: v.sum(0), d_params)
    if pull_params is not None:
        d_params, = pull_params(d_params)
    return BlockGradients(d_before, d_initial, d_params, *found.split_gradient())


def in_blocks(tree, block: int):
    """Returns every leaf `[time, ...]` as `[time / block, block, ...]`."""
    return jax.tree.map(lambda v: v.reshape(v.shape[0] // block, block, *v.shape[1:]), tree)


def _read(cell: Cell, plan: Plan, values: Array, step: Array, hidden: int) -> Array:
    """Reads row `step` of `values` `[time, batch, n * hidden]`, `hidden` numbers at a time.

    A kernel that reads several parts of a row at a computed offset is not vectorised by XLA's CPU backend: it computes
    the offset again for each number. Cells that sum over units gain nothing.
    """
    if plan.joined:
        return jax.lax.dynamic_index_in_dim(values, step, keepdims=False)
    parts = 1 if plan.joined or cell.mixes_units else max(1, values.shape[-1] // hidden)
    size = (1, values.shape[1], values.shape[-1] // parts)
    read = [jax.lax.dynamic_slice(values, (step, 0, part * size[2]), size)[0] for part in range(parts)]
    return jnp.concatenate(read, axis=-1)
