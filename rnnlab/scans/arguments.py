"""The array arguments of `scan`, and their checks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.plan import is_known
from rnnlab.scans.product import are_ids


class Arguments(NamedTuple):
    """The array arguments of `scan` and `newton_scan`, under the same names."""

    params: Params
    inputs: Array
    state: State | None
    seq_lengths: Any  # of jax or numpy
    segment_starts: Any
    recurrent_mask: Array | None
    zoneout_mask: tuple[Array, ...] | None
    guess: State | None = None


def own_params(cell: Cell, params: Mapping[str, Array]) -> Params:
    """Selects the parameters of a cell from a mapping, which may contain others.

    Raises:
      ValueError: one of them is missing.
    """
    names = dict.fromkeys(("W", "b", *(() if cell.recurrence == "none" else ("R",)), *cell.combine_params))
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"params of cell {cell.name!r} must have {', '.join(names)}, but have no {', '.join(missing)}")
    return {name: params[name] for name in names}


def check_arguments(cell: Cell, given: Arguments) -> None:
    """Checks that shapes are consistent and fit the cell, and that lengths lie in 0 to time.

    Raises:
      ValueError: they do not, or the cell does not support a recurrent mask.
    """
    _check_shapes(cell, given)
    _check_masks(cell, given)


def _check_shapes(cell: Cell, given: Arguments) -> None:
    inputs, weights, state = given.inputs, given.params["W"], given.state
    if inputs.ndim != (2 if are_ids(inputs) else 3):
        raise ValueError(
            f"inputs must be [time, batch, features], or integers [time, batch], not {inputs.dtype} of shape "
            f"{inputs.shape}"
        )
    time, batch, *features = inputs.shape
    if features and weights.shape[0] != features[0]:
        raise ValueError(f"inputs have {features[0]} features, but W of cell {cell.name!r} takes {weights.shape[0]}")
    if state is not None:
        wanted = (batch, cell.features(given.params))
        if len(state) != len(cell.state_names) or any(entry.shape != wanted for entry in state):
            raise ValueError(
                f"state of cell {cell.name!r} must be {len(cell.state_names)} arrays ({', '.join(cell.state_names)}) "
                f"of shape {wanted}, not {[entry.shape for entry in state]}"
            )
    starts, lengths = given.segment_starts, given.seq_lengths
    if starts is not None and np.shape(starts) != (time, batch):
        raise ValueError(f"segment_starts must be [time, batch] = {(time, batch)}, not of shape {np.shape(starts)}")
    if lengths is not None:
        _check_lengths(lengths, time, batch)


def _check_lengths(lengths: Array | np.ndarray, time: int, batch: int) -> None:
    if np.shape(lengths) != (batch,):
        raise ValueError(f"seq_lengths must be [batch] = {(batch,)}, not of shape {np.shape(lengths)}")
    if not isinstance(lengths, jax.core.Tracer):
        most = time if is_known(time) else np.inf  # beyond a symbolic time they are clipped
        outside = [int(n) for n in np.asarray(lengths) if not 0 <= n <= most]
        if outside:
            raise ValueError(
                f"seq_lengths must lie in 0 to {time} (the time of inputs), but {outside[0]} is among them"
            )


def _check_masks(cell: Cell, given: Arguments) -> None:
    (time, batch), units = given.inputs.shape[:2], cell.features(given.params)
    mask = given.recurrent_mask
    if mask is not None and "R" in cell.reads_params:
        raise ValueError(
            f"recurrent_mask: cell {cell.name!r} multiplies with R inside its combine, where no mask can be applied"
        )
    if mask is not None and mask.shape != (batch, units):
        raise ValueError(f"recurrent_mask must be [batch, hidden] = {(batch, units)}, not of shape {mask.shape}")
    wanted = [(time, batch, units)] * len(cell.state_names)
    if given.zoneout_mask is not None and [own.shape for own in given.zoneout_mask] != wanted:
        shapes = [own.shape for own in given.zoneout_mask]
        raise ValueError(f"zoneout_mask must be arrays of shapes {wanted}, not {shapes}")
