"""The sequential loop over steps; `pull.py` is its backward counterpart."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.ahead import split_known
from rnnlab.scans.plan import Plan
from rnnlab.scans.product import apply_mask, are_ids, poison_rows, project
from rnnlab.scans.recurrence import recur
from rnnlab.scans.residuals import Joined, Projections, StepResiduals, split
from rnnlab.scans.select import enter_step, select_state
from rnnlab.scans.sequences import Sequences, Steps


def run_blocks(
    cell: Cell, plan: Plan, params: Params, given: Sequences, *, store: bool
) -> tuple[State, State, StepResiduals | Joined]:
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
) -> tuple[State, StepResiduals | Joined]:
    """Runs consecutive steps from the state `entered`; returns the last state and the residuals of each step."""
    inputs, *masks = given.steps
    dtype = given.dtype(params)
    projected = project(params, inputs) if plan.project == "block" else None
    if projected is not None and plan.joined and are_ids(inputs):
        projected = poison_rows(params, inputs, projected)
    known: Projections | None = None
    if projected is not None and cell.recurrence == "none":
        known = Projections.join(cell, projected, jnp.zeros_like(projected), dtype)
    ahead, combine = _combine(cell, plan, params, entered, projected)
    operand = functools.partial(_operand, plan, params, given.mask)
    initial_operand = operand(given.initial)

    def step(carry, at_step):
        before, carried = carry
        at, x, updated, starts, values = at_step
        entered = enter_step(starts, before, given.initial)
        (hidden,) = enter_step(starts, carried, initial_operand) or (apply_mask(entered[0], given.mask),)
        a = project(params, x) if projected is None else read(cell, plan, projected, at, entered[0].shape[-1])
        r = recur(cell, params, hidden)
        if plan.joined:  # else XLA adds `a` in the product, which then needs a copy of it
            r = jax.lax.optimization_barrier(r)
        after = combine(values, entered, a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(updated, after, entered)
        rest_before = tuple(entry.astype(dtype) for entry in before[1:]) if store else ()
        projections = Projections.join(cell, a, r, dtype) if store and known is None else ()
        stored = StepResiduals(after[0].astype(dtype), rest_before, projections)
        return (after, operand(after)), (Joined.of(stored, after[0].shape[-1], dtype) if plan.joined else stored)

    at_steps = (jnp.arange(inputs.shape[0]), inputs if projected is None else None, *masks, ahead)
    carry = (entered, operand(entered))
    (final, _), stored = jax.lax.scan(step, carry, at_steps, reverse=given.reverse, unroll=plan.unroll)
    return final, split(stored)._replace(projections=known) if store and known is not None else stored


def _operand(plan: Plan, params: Params, mask: Array | None, state: State) -> tuple[Array, ...]:
    """Returns what the product with `R` reads of a state, to be carried beside it; (): the next step computes it."""
    weights = params.get("R")
    if not plan.joined or weights is None or (mask is None and weights.dtype == state[0].dtype):
        return ()
    return (apply_mask(state[0], mask).astype(weights.dtype),)


def _combine(
    cell: Cell, plan: Plan, params: Params, state: State, projected: Array | None
) -> tuple[Any, Callable[..., State]]:
    """Returns the values of each step that do not depend on its state, and `(values, state, a, r) -> state`."""
    if not plan.ahead or projected is None:
        return None, lambda _, state, a, r: cell.combine(params, state, a, r)
    read_params = {name: params[name] for name in cell.combine_params}
    shapes = (state, projected[0], jax.eval_shape(lambda hidden: recur(cell, params, hidden), state[0]))
    of_params, rest = split_known(lambda own, given: cell.combine(own, *given), read_params, shapes)
    constants = of_params(read_params)
    of_a, rest_of_step = split_known(lambda a, given: rest(constants, (given[0], a, given[1])), shapes[1], shapes[::2])
    return jax.vmap(of_a)(projected), lambda values, state, _, r: rest_of_step(values, (state, r))


def in_blocks(tree, block: int):
    """Returns every leaf `[time, ...]` as `[time / block, block, ...]`."""
    return jax.tree.map(lambda v: v.reshape(v.shape[0] // block, block, *v.shape[1:]), tree)


def read(cell: Cell, plan: Plan, values: Array, step: Array, hidden: int) -> Array:
    """Reads row `step` of `values` `[time, batch, n * hidden]`, `hidden` numbers at a time unless residuals are joined.

    A kernel that reads several parts of a row at a computed offset is not vectorised by XLA's CPU backend: it computes
    the offset again for each number. Cells that sum over units gain nothing.
    """
    if plan.joined:
        return jax.lax.dynamic_index_in_dim(values, step, keepdims=False)
    parts = 1 if cell.mixes_units else max(1, values.shape[-1] // hidden)
    size = (1, values.shape[1], values.shape[-1] // parts)
    read = [jax.lax.dynamic_slice(values, (step, 0, part * size[2]), size)[0] for part in range(parts)]
    return jnp.concatenate(read, axis=-1)
