"""One loop over time with a derivative of its own: the backward loop carries only the state's gradient.

The gradients of `W`, `R`, `b` and of the inputs are single large products after that loop instead of one small product
per step, as in FlashRNN (Poeppel et al. 2024, arXiv 2412.07752) and cuDNN. Reverse mode only: for forward mode use
`method="reference"`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scan.select import enter_step, select_state


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 6))
def run(
    cell: Cell, params: Params, inputs: Array, state: State, valid: Array | None, resets: Array | None, reverse: bool
) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state; arguments as in `rnnlab.scan.scan`."""
    (outputs, final), _ = _forward(cell, params, inputs, state, valid, resets, reverse, keep=False)
    return outputs, final


def _forward(cell, params, inputs, state, valid, resets, reverse, keep=True):
    fresh = cell.initial_state(inputs.shape[1], params["R"].shape[0], state[0].dtype)

    def step(before: State, at_step):
        x, valid_rows, reset_rows = at_step
        entered = enter_step(reset_rows, before, fresh)
        a, r = x @ params["W"] + params["b"], entered[0] @ params["R"]
        after = cell.combine(params, entered, a, r)
        after = tuple(new.astype(old.dtype) for new, old in zip(after, before, strict=True))
        after = select_state(valid_rows, after, before)
        projections = (a + r,) if cell.additive else (a, r)
        return after, (after, projections) if keep else (after[:1], ())

    final, (states, projections) = jax.lax.scan(step, state, (inputs, valid, resets), reverse=reverse)
    return (states[0], final), (params, inputs, state, states, projections, valid, resets)


def _backward(cell, reverse, residuals, cotangents):
    params, inputs, state, states, projections, valid, resets = residuals
    d_outputs, d_final = cotangents
    fresh = cell.initial_state(inputs.shape[1], params["R"].shape[0], state[0].dtype)
    read = {name: params[name] for name in cell.combine_params}
    before = tuple(_shift(first, rest, reverse) for first, rest in zip(state, states, strict=True))
    recurrent_transposed = params["R"].T

    def combine(read: Params, entered: State, projections):
        a, r = (projections[0], jnp.zeros_like(projections[0])) if cell.additive else projections
        after = cell.combine(read, entered, a, r)
        return tuple(new.astype(old.dtype) for new, old in zip(after, entered, strict=True))

    def step(carry, at_step):
        d_after, d_read = carry
        d_output, before_step, projections_step, valid_rows, reset_rows = at_step
        d_after = (d_after[0] + d_output, *d_after[1:])
        zeros = jax.tree.map(jnp.zeros_like, d_after)
        entered = enter_step(reset_rows, before_step, fresh)
        _, pull = jax.vjp(combine, read, entered, projections_step)
        d_read_step, d_before, d_projections = pull(select_state(valid_rows, d_after, zeros))
        d_before = (d_before[0] + d_projections[-1] @ recurrent_transposed, *d_before[1:])
        d_before = enter_step(reset_rows, d_before, zeros)
        d_before = select_state(valid_rows, d_before, d_after)
        return (d_before, jax.tree.map(jnp.add, d_read, d_read_step)), d_projections

    (d_state, d_read), d_projections = jax.lax.scan(
        step,
        (d_final, jax.tree.map(jnp.zeros_like, read)),
        (d_outputs, before, projections, valid, resets),
        reverse=not reverse,
    )
    d_a, d_r = d_projections[0], d_projections[-1]
    hidden = before[0] if resets is None else jnp.where(resets[..., None], fresh[0], before[0])
    d_params = {
        "W": jnp.einsum("tbd,tbg->dg", inputs, d_a),
        "R": jnp.einsum("tbh,tbg->hg", hidden, d_r),
        "b": d_a.sum((0, 1)),
    }
    for name, gradient in d_read.items():
        d_params[name] = d_params[name] + gradient if name in d_params else gradient
    d_params = {name: gradient.astype(params[name].dtype) for name, gradient in d_params.items()}
    return d_params, (d_a @ params["W"].T).astype(inputs.dtype), d_state, None, None


def _shift(first: Array, rest: Array, reverse: bool) -> Array:
    """The state before each step `[time, batch, hidden]`, from the one at the start and those after each step."""
    if reverse:
        return jnp.concatenate([rest[1:], first[None]])[: rest.shape[0]]
    return jnp.concatenate([first[None], rest[:-1]])[: rest.shape[0]]


run.defvjp(_forward, _backward)
