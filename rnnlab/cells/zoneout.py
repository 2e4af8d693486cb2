"""Zoneout in evaluation (Krueger et al. 2017, arXiv 1606.01305): the mean over the random masks of training."""

import dataclasses
import functools

from jax import Array

from rnnlab.cells.base import Cell, Params, State


def entry_rates(cell: Cell, hidden: float, others: float) -> tuple[float, ...]:
    """Returns the rate of each entry of the state: `hidden` for `h` and the entries together with it, else `others`.

    Raises:
      ValueError: `others` is neither 0 nor `hidden` although `h` forms one number with all other entries.
    """
    rates = tuple(others if mask else hidden for mask in cell.masks)
    if others not in (0, hidden) and len(rates) > 1 and not any(cell.masks):
        raise ValueError(
            f"the state ({', '.join(cell.state_names)}) of cell {cell.name!r} is one number, which zoneout keeps as a "
            f"whole: zoneout_cell must be 0 or equal to zoneout, {hidden}, not {others}"
        )
    return rates


def expected(cell: Cell, rates: tuple[float, ...]) -> Cell:
    """Returns the cell whose new state is the mean over zoneout masks, with a rate for each entry of the state.

    That is rate * old + (1 - rate) * new, unless the cell has its own `mean` for its entries `together`.
    """
    return dataclasses.replace(cell, combine=functools.partial(_combine, cell=cell, rates=rates))


def _combine(
    params: Params, state: State, a: Array, r: Array, *dt: Array, cell: Cell, rates: tuple[float, ...]
) -> State:
    after = cell.combine(params, state, a, r, *dt)
    means = [old + (1 - rate) * (new - old) for rate, old, new in zip(rates, state, after, strict=True)]
    grouped = [index for index, name in enumerate(cell.state_names) if name in cell.together]
    if cell.mean and rates[grouped[0]]:
        old, new = (tuple(entries[index] for index in grouped) for entries in (state, after))
        for index, entry in zip(grouped, cell.mean(rates[grouped[0]], old, new), strict=True):
            means[index] = entry
    return tuple(means)
