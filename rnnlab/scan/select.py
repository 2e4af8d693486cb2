"""Choosing between two states, row by row or unit by unit; shared by every method of scan."""

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
