"""Zoneout in evaluation (Krueger et al. 2017, arXiv 1606.01305): the mean over what training keeps at random."""

import dataclasses
import functools

from jax import Array

from rnnlab.cells.base import Cell, Params, State


@functools.cache
def expected(cell: Cell, rates: tuple[float, ...]) -> Cell:
    """The cell whose new state is rate * old + (1 - rate) * new, with a rate for each entry of the state."""

    def combine(params: Params, state: State, a: Array, r: Array) -> State:
        after = cell.combine(params, state, a, r)
        return tuple(old + (1 - rate) * (new - old) for rate, old, new in zip(rates, state, after, strict=True))

    return dataclasses.replace(cell, combine=combine)
