"""Choosing between two states row by row; shared by every method of scan."""

import jax.numpy as jnp
from jax import Array

from rnnlab.cells import State


def select_state(rows: Array | None, chosen: State, otherwise: State) -> State:
    """Takes `chosen` `[batch, hidden]` in the rows `[batch]` that are True, `otherwise` in the rest; None: all True."""
    if rows is None:
        return chosen
    return tuple(jnp.where(rows[:, None], new, old) for new, old in zip(chosen, otherwise, strict=True))


def enter_step(resets: Array | None, state: State, fresh: State) -> State:
    """The state with which a step starts: `fresh` in the rows of `resets` `[batch]` that are True."""
    return state if resets is None else select_state(resets, fresh, state)
