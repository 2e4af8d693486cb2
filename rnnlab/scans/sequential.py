"""One loop over time with a derivative of its own: the backward loop carries only the state's gradient.

The gradients of `W`, `R`, `b` and of the inputs are products over a block of steps instead of one small product per
step, as in FlashRNN (Poeppel et al. 2024, arXiv 2412.07752) and cuDNN. Reverse mode only: for forward mode use
`method="reference"`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.plan import Plan, is_known
from rnnlab.scans.product import apply_mask, are_ids, product, project
from rnnlab.scans.recurrence import recur, recur_back, recurrence_gradient, transposed, weights_dtype
from rnnlab.scans.select import Where, enter_step, select_state, split_entered

# Steps from which a transposed copy of R before the backward loop costs less than transposed products in it (measured).
_WORTH_A_COPY = 32


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def run(
    cell: Cell,
    plan: Plan,
    reverse: bool,
    params: Params,
    inputs: Array,
    state: State,
    updates: Where,
    resets: Array | None,
    mask: Array | None,
) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state.

    Arguments are those of `rnnlab.scans.scan`, with `state` in at least float32 and `plan.block` a divisor of the time.
    Where a row starts anew (`resets`) it does so from `state`.
    `updates` says what takes its new value at a step, the rest keeps the old one: rows `[time, batch]`, or units
    `[time, batch, hidden]` for each entry of the state. `mask` `[batch, hidden]` is on `h` where it enters `h R`.
    """
    xs = (inputs, updates, resets)
    final, (outputs, _, _) = _run_blocks(cell, plan, params, xs, state, mask, reverse, keep=False)
    return outputs, final


def _forward(cell, plan, reverse, params, inputs, state, updates, resets, mask):
    xs = (inputs, updates, resets)
    final, (outputs, entered, kept) = _run_blocks(cell, plan, params, xs, state, mask, reverse, keep=not plan.recompute)
    return (outputs, final), (params, xs, mask, state, entered, None if plan.recompute else (outputs, *kept))


def _run_blocks(cell, plan, params, xs, state, mask, reverse, *, keep):
    """All steps: the last state, the outputs, the states between blocks, if any, and what `_run_block` keeps."""

    def block(entered: State, block_xs):
        left, (outputs, kept) = _run_block(cell, plan, params, block_xs, entered, state, mask, reverse, keep=keep)
        return left, (entered, outputs, kept)

    if plan.recompute or plan.project == "block":
        final, (entered, *rest) = jax.lax.scan(block, state, _blocks(xs, plan.block), reverse=reverse)
        outputs, kept = jax.tree.map(lambda v: v.reshape(v.shape[0] * v.shape[1], *v.shape[2:]), rest)
        return final, (outputs, entered, kept)
    # Nothing before the backward pass needs blocks: one flat loop writes each row to its place at once.
    final, (outputs, kept) = _run_block(cell, plan, params, xs, state, state, mask, reverse, keep=keep)
    return final, (outputs, (), kept)


def every_state(cell, plan, params, xs, state, mask, reverse):
    """`h` after each step, the rest of the state before each, and the state after the last."""
    final, (outputs, _, (rest, _)) = _run_blocks(cell, plan, params, xs, state, mask, reverse, keep=True)
    return outputs, rest, final


def _run_block(cell, plan, params, xs, state, fresh, mask, reverse, *, keep):
    """Consecutive steps: the last state, `h` of each step and, to `keep`, (rest of the state before, projections)."""
    inputs, *masks = xs
    dtype = jnp.result_type(inputs, weights_dtype(params))
    projected = project(params, inputs) if plan.project == "block" else None
    known = None
    if projected is not None and cell.recurrence == "none":
        known = join(cell, projected, jnp.zeros_like(projected), dtype)

    def step(before: State, at_step):
        at, x, updated, reset_rows = at_step
        entered = enter_step(reset_rows, before, fresh)
        a = project(params, x) if projected is None else _read(cell, projected, at, entered[0].shape[-1])
        r = recur(cell, params, apply_mask(entered[0], mask))
        after = cell.combine(params, entered, a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(updated, after, entered)
        kept = (before[1:], join(cell, a, r, dtype) if known is None else ()) if keep else ()
        return after, (after[0].astype(dtype), kept)

    at_steps = (jnp.arange(inputs.shape[0]), inputs if projected is None else None, *masks)
    final, (outputs, kept) = jax.lax.scan(step, state, at_steps, reverse=reverse, unroll=plan.unroll)
    if keep and known is not None:
        kept = (kept[0], known)
    return final, (outputs, kept)


def _read(cell: Cell, values: Array, step: Array, hidden: int) -> Array:
    """Row `step` of `values` `[time, batch, n * hidden]`, as wide as `hidden` at a time.

    Where a kernel reads several places of a row that it has to find first, XLA's CPU backend finds it anew for each
    number, and computes one number at a time instead of a vector of them. Cells that sum over units gain nothing.
    """
    parts = 1 if cell.mixes_units else max(1, values.shape[-1] // hidden)
    size = (1, values.shape[1], values.shape[-1] // parts)
    read = [jax.lax.dynamic_slice(values, (step, 0, part * size[2]), size)[0] for part in range(parts)]
    return jnp.concatenate(read, axis=-1)


def backward(cell, plan, reverse, residuals, cotangents, pull=None):
    """Gradients of what `run` was given, however the states of `residuals` were found.

    `pull` is what goes back over the steps of a block: `pull_steps`, or another of the same arguments and results.
    """
    pull = pull or functools.partial(pull_steps, plan)
    params, xs, mask, first, entered, kept = residuals
    d_outputs, d_state = cotangents
    names = dict.fromkeys(("W", *(("R",) if "R" in params else ()), "b", *cell.combine_params))
    nothing = {name: jnp.zeros_like(params[name], d_state[0].dtype) for name in names}
    no_fresh, no_mask = jax.tree.map(jnp.zeros_like, (None if xs[2] is None else d_state, mask))

    def block(carry, at_block):
        d_after, d_fresh, d_mask, sums = carry
        start, block_xs, block_entered, block_outputs, block_d_outputs = at_block
        if plan.recompute:
            given = (block_xs, block_entered, first, mask)
            _, (block_outputs, rest) = _run_block(cell, plan, params, *given, reverse, keep=True)
            rows, offset = (block_d_outputs, *rest), 0
        else:
            rows, offset = (d_outputs, *kept[1:]), start
        hidden = before(block_entered[0], block_outputs, reverse)
        masks = (*block_xs[1:], first, mask)
        d_before, d_fresh_own, d_read, d_a, d_r = pull(cell, params, masks, hidden, rows, offset, d_after, reverse)
        d_params, d_mask_own, d_inputs = _pull_products(cell, params, block_xs, first, mask, hidden, d_a, d_r)
        d_fresh, d_mask = jax.tree.map(jnp.add, (d_fresh, d_mask), (d_fresh_own, d_mask_own))
        sums = {name: sums[name] + d_params.get(name, 0) + d_read.get(name, 0) for name in names}
        return (d_before, d_fresh, d_mask, sums), d_inputs

    starts = plan.block * jnp.arange(d_outputs.shape[0] // plan.block)
    if plan.recompute:
        outputs, d_blocks = None, _blocks(d_outputs, plan.block)
    else:  # kept and the gradients of the outputs are read in place, row by row
        outputs, d_blocks = _blocks(kept[0], plan.block), None
        entered = (before(first[0], outputs[:, 0 if reverse else -1], reverse),)
    at_blocks = (starts, _blocks(xs, plan.block), entered, outputs, d_blocks)
    carry = (d_state, no_fresh, no_mask, nothing)
    (d_state, d_fresh, d_mask, sums), d_inputs = jax.lax.scan(block, carry, at_blocks, reverse=not reverse)
    d_state = d_state if d_fresh is None else jax.tree.map(jnp.add, d_state, d_fresh)
    d_params = {name: gradient.astype(params[name].dtype) for name, gradient in sums.items()}
    d_inputs = None if d_inputs is None else d_inputs.reshape(xs[0].shape)
    return d_params, d_inputs, d_state, None, None, d_mask


def pull_steps(plan, cell, params, masks, hidden, rows, offset, d_after, reverse):
    """The backward loop over the steps of a block and, where `plan.pull` is "block", what is done after it.

    Args:
      masks, hidden: of the block: updates, resets, the state that resets go to and the mask of `h R`, and `h` before
        each step.
      rows, offset: gradients of the outputs, the rest of the state before each step, and the projections, read in
        place: the block's first step is row `offset`.

    Returns the gradients of the state that entered the block, of the one that resets go to (None without resets), of
    what `combine` reads of the parameters, and, for each step, of the two projections `[block, batch, gates * hidden]`.
    """
    dtype = d_after[0].dtype
    *step_masks, fresh, mask = masks
    read = {name: params[name].astype(dtype) for name in cell.combine_params}
    steps = hidden.shape[0]
    many = not is_known(steps) or steps >= _WORTH_A_COPY
    copied = transposed(cell, params) if "R" in params and many else None

    def combine(read: Params, entered: State, projections):
        a, r = part(*projections)
        after = cell.combine(read, entered, a, r)
        return tuple(new.astype(old.dtype) for new, old in zip(after, entered, strict=True))

    def pull_step(d_after: State, before: State, projections, updated, reset_rows):
        """The gradients of the state with which the step starts, of the parameters, and of the projections."""
        zeros = jax.tree.map(jnp.zeros_like, d_after)
        entered = enter_step(reset_rows, before, fresh)
        _, pull = jax.vjp(combine, read, entered, projections)
        d_read, d_entered, d_projections = pull(select_state(updated, d_after, zeros))
        _, d_r = _d_part(*d_projections)
        if "R" in params:
            d_hidden = recur_back(cell, transposed(cell, params) if copied is None else copied, d_r)
            d_entered = (d_entered[0] + apply_mask(d_hidden, mask), *d_entered[1:])
        if updated is not None:
            d_entered = jax.tree.map(jnp.add, d_entered, select_state(updated, zeros, d_after))
        return d_entered, d_read, d_projections

    def step(carry, at_step):
        d_after, d_fresh, d_read = carry
        at, h, own_masks = at_step
        d_output, rest, projections = jax.tree.map(lambda v: _read(cell, v, at, h.shape[-1]).astype(dtype), rows)
        d_after = (d_after[0] + d_output, *d_after[1:])
        d_entered, d_read_step, d_projections = pull_step(d_after, (h.astype(dtype), *rest), projections, *own_masks)
        d_before, d_fresh_step = split_entered(own_masks[1], d_entered)
        d_fresh = jax.tree.map(jnp.add, d_fresh, d_fresh_step)
        if plan.pull == "block":
            return (d_before, d_fresh, d_read), d_after
        return (d_before, d_fresh, jax.tree.map(jnp.add, d_read, d_read_step)), d_projections

    no_fresh = None if step_masks[1] is None else jax.tree.map(jnp.zeros_like, d_after)
    start = (d_after, no_fresh, jax.tree.map(jnp.zeros_like, read))
    at_steps = (offset + jnp.arange(steps), hidden, step_masks)
    (d_before, d_fresh, d_read), found = jax.lax.scan(step, start, at_steps, reverse=not reverse, unroll=plan.unroll)
    if plan.pull == "block":
        rest, projections = jax.tree.map(
            lambda v: jax.lax.dynamic_slice_in_dim(v, offset, steps).astype(dtype), rows[1:]
        )
        _, d_read, found = jax.vmap(pull_step)(found, (hidden.astype(dtype), *rest), projections, *step_masks)
        d_read = jax.tree.map(lambda v: v.sum(0), d_read)
    return d_before, d_fresh, d_read, *_d_part(*found)


def _pull_products(cell, params, xs, fresh, mask, hidden, d_a, d_r):
    """Gradients of `W`, `R`, `b`, of the mask of `h R` and of the inputs of a block, from those of its projections.

    None for a mask that there is not, and for ids.
    """
    inputs, _, resets = xs
    if resets is not None:
        hidden = jnp.where(resets[..., None], fresh[0].astype(hidden.dtype), hidden)
    d_mask = None
    if mask is not None:
        d_mask = (hidden * recur_back(cell, transposed(cell, params), d_r)).sum(0).astype(mask.dtype)
    d_params = recurrence_gradient(cell, params, apply_mask(hidden, mask), d_r) | {"b": d_a.sum((0, 1))}
    if are_ids(inputs):
        return d_params | {"W": jnp.zeros_like(params["W"], d_a.dtype).at[inputs].add(d_a)}, d_mask, None
    rows, d_rows = (v.reshape(-1, v.shape[-1]) for v in (inputs, d_a.astype(params["W"].dtype)))
    return d_params | {"W": product(rows.T, d_rows)}, d_mask, product(d_a, params["W"].T).astype(inputs.dtype)


def join(cell: Cell, a: Array, r: Array, dtype) -> tuple[Array, Array, Array]:
    """What `combine` reads of the projections, in `dtype`: their sum, and `a` and `r` of the gates read apart."""
    summed = a.shape[-1] - a.shape[-1] // len(cell.gates) * len(cell.apart)
    joined = a[..., :summed] + r[..., :summed], a[..., summed:], r[..., summed:]
    return jax.tree.map(lambda v: v.astype(dtype), joined)


def part(total: Array, a: Array, r: Array) -> tuple[Array, Array]:
    """Two projections that `combine` cannot tell from those that were joined."""
    return jnp.concatenate([total, a], axis=-1), jnp.concatenate([jnp.zeros_like(total), r], axis=-1)


def _d_part(total: Array, a: Array, r: Array) -> tuple[Array, Array]:
    """Gradients of the two projections, from those of what was joined."""
    return jnp.concatenate([total, a], axis=-1), jnp.concatenate([total, r], axis=-1)


def _blocks(tree, block: int):
    """Every leaf `[time, ...]` as `[time / block, block, ...]`."""
    return jax.tree.map(lambda v: v.reshape(v.shape[0] // block, block, *v.shape[1:]), tree)


def after(entered: Array, last: Array, reverse: bool) -> Array:
    """An entry of the state after each step `[n, batch, hidden]`, from the one before each and the last."""
    return jnp.concatenate([last[None], entered[:-1]] if reverse else [entered[1:], last[None]])


def before(first: Array, after: Array, reverse: bool) -> Array:
    """`h` before each step (or block) `[n, batch, hidden]`, from the first one and those after each."""
    parts = [after[1:], first[None]] if reverse else [first[None], after[:-1]]
    return jnp.concatenate([part.astype(after.dtype) for part in parts])[: after.shape[0]]


run.defvjp(_forward, backward)
