"""Selects between two states, row by row or unit by unit; shared by all methods."""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import State

Where = Array | tuple[Array, ...] | None


def select_state(where: Where, chosen: State, otherwise: State) -> State:
    """Takes `chosen` `[batch, hidden]` where it is True, `otherwise` in the rest.

    `where` is rows `[batch]`, or units `[batch, hidden]` for each entry of the state; None: all True.
    """
    if where is None:
        return chosen
    each = where if isinstance(where, tuple) else (where[:, None],) * len(chosen)
    return tuple(jnp.where(own, new, old) for own, new, old in zip(each, chosen, otherwise, strict=True))


def enter_step(segment_starts: Where, state: State, initial: State) -> State:
    """Returns the state before a step: `initial` where a segment starts, `segment_starts` as in `select_state`."""
    return state if segment_starts is None else select_state(segment_starts, initial, state)


def split_entered(segment_starts: Where, d_entered: State) -> tuple[State, State | None]:
    """Splits the gradient of the result of `enter_step`: of `state`, and of `initial`, None without segment starts."""
    if segment_starts is None:
        return d_entered, None
    zeros = jax.tree.map(jnp.zeros_like, d_entered)
    return select_state(segment_starts, zeros, d_entered), select_state(segment_starts, d_entered, zeros)
