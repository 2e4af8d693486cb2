"""Piano rolls in MATLAB files (`.mat`), the format of Boulanger-Lewandowski, Bengio and Vincent 2012 (arXiv 1206.6392):
`traindata`, `validdata` and `testdata`, each a row of matrices `[steps, keys]` of 0 and 1.

The answer at a step is the next step (Bai, Kolter and Koltun 2018, arXiv 1803.01271): for a roll of n steps the inputs
are its first n - 1, the answers its last n - 1. A stream for prediction keeps all of its steps.
"""

import io
from typing import Any

import numpy as np

from rnnlab.data.sequences.examples import Examples, Request, Source, counted, listed, one_line
from rnnlab.errors import UserError

_KEYS = {"train": "traindata", "validation": "validdata", "test": "testdata"}


def splits(source: Source) -> set[str]:
    """Names the splits in a file.

    Raises:
      UserError: not a .mat file.
    """
    there = _load(source)
    return {split for split, key in _KEYS.items() if key in there}


def read(request: Request, source: Source) -> Examples:
    """Reads a split of one file, or its only variable.

    Raises:
      UserError: not a .mat file; no such variable; rolls with different numbers of keys, with other values than 0 and
        1, or with less than two steps.
    """
    variables = _load(source)
    key = _KEYS[request.split]
    if key not in variables and len(variables) == 1:
        (key,) = variables
    if key not in variables:
        raise UserError(f"{source.name}: has no variable {key!r}; it has {listed(list(variables)) or 'none'}")

    def places(i: int) -> str:
        return f"{source.name}, {key} {i + 1}"

    array = variables[key]
    rolls = [_dense(roll) for roll in (array.ravel() if array.dtype == object else [array])]
    if not rolls:
        raise UserError(f"{source.name}: {key} is empty")
    for i, roll in enumerate(rolls):
        _check_roll(roll, rolls[0], places(i), least=2 if request.answered else 1)
    numbers = [np.asarray(roll, np.float32) for roll in rolls]
    if not request.answered:
        return Examples(numbers, None, None, places)
    return Examples([roll[:-1] for roll in numbers], [roll[1:] == 1 for roll in numbers], None, places)


def _load(source: Source) -> dict[str, np.ndarray]:
    """Loads the variables of a file, without MATLAB's metadata."""
    import scipy.io  # only here: no other format needs it

    try:
        variables = scipy.io.loadmat(io.BytesIO(source.content), spmatrix=False)
    except NotImplementedError:  # HDF5
        raise UserError(f"{source.name}: MATLAB 7.3 files are not supported; save it with '-v7'") from None
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{source.name}: not a .mat file ({one_line(error)})") from None
    return {name: array for name, array in variables.items() if not name.startswith("__")}


def _dense(roll: Any) -> np.ndarray:
    """Converts a sparse matrix to a dense one."""
    import scipy.sparse

    return roll.toarray() if scipy.sparse.issparse(roll) else np.asarray(roll)


def _check_roll(roll: np.ndarray, first: np.ndarray, place: str, least: int) -> None:
    if roll.ndim != 2 or roll.dtype.kind not in "biuf":
        raise UserError(f"{place}: not a matrix of numbers [steps, keys]")
    if roll.shape[1] != first.shape[1]:
        raise UserError(f"{place}: {counted(roll.shape[1], 'key')}; the first has {first.shape[1]}")
    if len(roll) < least:
        raise UserError(f"{place}: {counted(len(roll), 'step')}; at least {least} needed")
    if not ((roll == 0) | (roll == 1)).all():
        step, key = np.argwhere((roll != 0) & (roll != 1))[0]
        raise UserError(f"{place}, step {step + 1}, key {key + 1}: {roll[step, key]}; it must be 0 or 1")
