"""Choosing between two states, row by row or unit by unit; shared by every method of scan."""

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


def enter_step(resets: Array | None, state: State, fresh: State) -> State:
    """The state with which a step starts: `fresh` in the rows of `resets` `[batch]` that are True."""
    return state if resets is None else select_state(resets, fresh, state)


def split_entered(resets: Array | None, d_entered: State) -> tuple[State, State | None]:
    """Splits the gradient of what `enter_step` gave: of `state`, and of `fresh`, None where there are no resets."""
    if resets is None:
        return d_entered, None
    zeros = jax.tree.map(jnp.zeros_like, d_entered)
    return select_state(resets, zeros, d_entered), select_state(resets, d_entered, zeros)
