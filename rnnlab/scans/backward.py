"""The backward pass shared by all methods: block by block, the last one first.

The gradients of `W`, `R`, `b` and of the inputs are products over a block of steps instead of one small product per
step, as in FlashRNN (Poeppel et al. 2024, arXiv 2412.07752) and cuDNN.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.loop import in_blocks, run_block
from rnnlab.scans.plan import Plan
from rnnlab.scans.product import apply_mask, are_ids, join_steps, product, sum_of_products
from rnnlab.scans.recurrence import recur_back, recurrence_gradient, transposed
from rnnlab.scans.residuals import Block, BlockGradients, Residuals, before_each, split
from rnnlab.scans.sequences import Sequences, Steps

Pull = Callable[[Params, Block, State], BlockGradients]


def backward(
    cell: Cell, plan: Plan, residuals: Residuals, cotangents: tuple[Array, State], pull: Pull
) -> tuple[Params, Sequences]:
    """Returns the gradients of parameters and sequences.

    Args:
      plan: its block is that of the backward pass; `recompute` if the residuals hold only states between blocks.
      cotangents: the gradients of `h` of every step and of the last state.
      pull: pulls the gradient of the state after a block back over its steps, as `pull.pull_steps` does.
    """
    params, given, entered, stored = residuals
    d_outputs, d_state = cotangents
    names = dict.fromkeys(("W", *(("R",) if "R" in params else ()), "b", *cell.combine_params))
    no_params = {name: jnp.zeros_like(params[name], d_state[0].dtype) for name in names}
    starts = given.steps.segment_starts
    no_initial, no_mask = jax.tree.map(jnp.zeros_like, (None if starts is None else d_state, given.mask))

    def pull_block(carry, at_block):
        d_after, d_initial, d_mask, sums = carry
        offset, steps, block_entered, hidden_after, block_d_outputs = at_block
        own = dataclasses.replace(given, steps=steps)
        if stored is None:
            _, again = run_block(cell, plan, params, own, block_entered, store=True)
            hidden_after, rows, offset = split(again).hidden, (block_d_outputs, again), 0
        else:
            rows = (d_outputs, stored)
        block = Block(own, before_each(block_entered[0], hidden_after, given.reverse), rows, offset)
        found = pull(params, block, d_after)
        d_params, d_mask_own, d_inputs = _pull_products(cell, params, block, found)
        d_initial, d_mask = jax.tree.map(jnp.add, (d_initial, d_mask), (found.initial, d_mask_own))
        sums = {name: sums[name] + d_params.get(name, 0) + found.combine_params.get(name, 0) for name in names}
        return (found.before, d_initial, d_mask, sums), d_inputs

    offsets = plan.block * jnp.arange(d_outputs.shape[0] // plan.block)
    if stored is None:
        outputs, d_blocks = None, in_blocks(d_outputs, plan.block)
    else:  # residuals and the gradients of the outputs are read in place, row by row
        outputs, d_blocks = in_blocks(split(stored).hidden, plan.block), None
        entered = (before_each(given.initial[0], outputs[:, 0 if given.reverse else -1], given.reverse),)
    at_blocks = (offsets, in_blocks(given.steps, plan.block), entered, outputs, d_blocks)
    carry = (d_state, no_initial, no_mask, no_params)
    (d_state, d_initial, d_mask, sums), d_inputs = jax.lax.scan(pull_block, carry, at_blocks, reverse=not given.reverse)
    d_state = d_state if d_initial is None else jax.tree.map(jnp.add, d_state, d_initial)
    d_params = {name: gradient.astype(params[name].dtype) for name, gradient in sums.items()}
    if d_inputs is not None:
        d_inputs = d_inputs.reshape(given.steps.inputs.shape)
    # The gradient has the structure of its argument; None for integers and booleans.
    return d_params, dataclasses.replace(given, steps=Steps(d_inputs), initial=d_state, mask=d_mask)


def _pull_products(
    cell: Cell, params: Params, block: Block, found: BlockGradients
) -> tuple[Params, Array | None, Array | None]:
    """Returns the gradients of `W`, `R`, `b`, of the mask of `h R` and of the inputs of a block, from those of its
    projections; None for a missing mask, and for ids.
    """
    (inputs, _, starts), initial, mask = block.given.steps, block.given.initial, block.given.mask
    hidden = block.hidden
    if starts is not None:
        hidden = jnp.where(starts[..., None], initial[0].astype(hidden.dtype), hidden)
    d_mask = None
    if mask is not None:
        d_mask = (hidden * recur_back(cell, transposed(cell, params), found.r)).sum(0).astype(mask.dtype)
    d_params = recurrence_gradient(cell, params, apply_mask(hidden, mask), found.r) | {"b": found.a.sum((0, 1))}
    if are_ids(inputs):
        return d_params | {"W": jnp.zeros_like(params["W"], found.a.dtype).at[inputs].add(found.a)}, d_mask, None
    dtype = params["W"].dtype
    d_inputs = product(found.a, params["W"].T).astype(inputs.dtype)
    d_weights = sum_of_products(*(join_steps(values.astype(dtype)) for values in (inputs, found.a)))
    return d_params | {"W": d_weights}, d_mask, d_inputs
