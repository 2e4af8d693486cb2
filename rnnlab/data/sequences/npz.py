"""NumPy arrays in one `.npz`: numbers `x` `[examples, steps, features]`, or `[examples, steps]` for one feature, and
`y`; `lengths [examples]` if sequences are padded at their ends; `dt [examples, steps]`, the time since the step before.

A file of several splits has them as `x_train`, `y_train`, `lengths_train` ..., `x_validation` (or `_valid`, `_val`) and
`x_test`. By `data.answer`, `y` is `[examples]` for a class, `[examples]` or `[examples, k]` for numbers,
`[examples, steps]` for a class per step, and `[examples, steps, labels]` of 0 and 1 for labels per step.
"""

import io
from typing import Any

import numpy as np

from rnnlab.data.sequences.examples import (
    Examples,
    Request,
    Source,
    check_finite,
    check_missing,
    counted,
    is_missing,
    listed,
    one_line,
)
from rnnlab.errors import UserError

_ENDINGS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


def splits(source: Source) -> set[str]:
    """Names the splits in a file.

    Raises:
      UserError: not an .npz file.
    """
    there = _open(source).files
    return {split for split, endings in _ENDINGS.items() if any(f"x_{ending}" in there for ending in endings)}


def read(request: Request, source: Source) -> Examples:
    """Reads a split of one file: the arrays with the split's suffix, or those without a suffix.

    Raises:
      UserError: not an .npz file; an array that is missing, is not numeric, or has the wrong sizes; a number that is
        not finite; a missing value, if they are refused.
    """
    arrays = _open(source)
    ending = next((f"_{e}" for e in _ENDINGS[request.split] if f"x_{e}" in arrays.files), "")
    x = _numbers(arrays, f"x{ending}", source)
    if x.ndim not in (2, 3) or not x.size:
        raise UserError(f"{source.name}, x{ending}: of sizes {x.shape}; [examples, steps, features] are needed")
    number, steps = x.shape[:2]
    lengths = np.full(number, steps)
    if f"lengths{ending}" in arrays.files:
        lengths = _load(arrays, f"lengths{ending}", source)
        fits = lengths.shape == (number,) and lengths.dtype.kind in "iu"
        if not fits or lengths.min() < 1 or lengths.max() > steps:
            raise UserError(
                f"{source.name}, lengths{ending}: {number} whole numbers are needed, each from 1 to {steps}, "
                "the steps of x"
            )
    inputs = [one[:length] for one, length in zip(x.reshape(number, steps, -1), lengths, strict=True)]
    dt = None
    if f"dt{ending}" in arrays.files:
        times = _numbers(arrays, f"dt{ending}", source)
        _check_sizes(times, (number, steps), f"{source.name}, dt{ending}")
        dt = [one[:length] for one, length in zip(times, lengths, strict=True)]
        if not all((one >= 0).all() for one in dt):
            raise UserError(f"{source.name}, dt{ending}: a time since the step before is below 0, or missing")
    return Examples(
        inputs,
        _answers(request, arrays, ending, source, x.shape, lengths),
        dt,
        places=lambda i: f"{source.name}, x{ending}[{i}]",
        remarks=check_missing(
            request, source.name, inputs, lambda i, step, feature: f"{source.name}, x{ending}[{i}, {step}, {feature}]"
        ),
    )


def _open(source: Source) -> Any:
    try:
        arrays = np.load(io.BytesIO(source.content), allow_pickle=False)
    except Exception:  # a damaged file may raise anything
        arrays = None
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise UserError(f"{source.name}: not an .npz file of numpy.savez")
    return arrays


def _load(arrays: Any, key: str, source: Source) -> np.ndarray:
    if key not in arrays.files:
        raise UserError(f"{source.name}: has no array {key!r}; it has {listed(arrays.files) or 'none'}")
    try:
        return arrays[key]
    except Exception as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{source.name}, {key}: an array of Python objects, which are not read; pad sequences of different "
                "lengths and give 'lengths'"
            ) from None
        raise UserError(f"{source.name}, {key}: cannot be read: {one_line(error)}") from None


def _numbers(arrays: Any, key: str, source: Source) -> np.ndarray:
    """Loads an array as float32, or float64 if it is more exact; it may contain NaN."""
    array = _load(arrays, key, source)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{source.name}, {key}: of the type {array.dtype}; numbers are needed")
    array = array.astype(np.result_type(array.dtype, np.float32))
    check_finite(array, lambda *index: f"{source.name}, {key}[{', '.join(map(str, index))}]")
    return array


def _check_sizes(array: np.ndarray, sizes: tuple[int, ...], place: str) -> None:
    if array.shape != sizes:
        raise UserError(f"{place}: of sizes {array.shape}; {sizes} are needed")


def _answers(
    request: Request, arrays: Any, ending: str, source: Source, sizes: tuple[int, ...], lengths: np.ndarray
) -> list | None:
    answer = request.data.answer
    if not request.answered or answer == "forecast":
        return None
    key = f"y{ending}"
    place = f"{source.name}, {key}"
    load = _numbers if answer in ("numbers", "labels_per_step") else _load
    values = load(arrays, key, source)
    if answer in ("class", "class_per_step"):
        per_step = answer == "class_per_step"
        if not per_step and values.shape == (sizes[0], 1):
            values = values[:, 0]
        _check_sizes(values, sizes[:2] if per_step else sizes[:1], place)
        classes = values.astype(str).tolist()
        _check_classes(classes, lengths if per_step else None, place)
        return [tuple(own[:length]) for own, length in zip(classes, lengths, strict=True)] if per_step else classes
    if answer == "numbers":
        if values.ndim not in (1, 2) or len(values) != sizes[0] or not values.size:
            raise UserError(
                f"{place}: of sizes {values.shape}; at least one number for each example is needed, and "
                f"x has {counted(sizes[0], 'example')}"
            )
        if np.isnan(values).any():
            index = ", ".join(map(str, np.argwhere(np.isnan(values))[0]))
            raise UserError(f"{place}[{index}]: missing; every example needs its numbers")
        return list(values.reshape(sizes[0], -1))
    if values.ndim != 3 or values.shape[:2] != sizes[:2] or not values.size:
        raise UserError(
            f"{place}: of sizes {values.shape}; [examples, steps, labels] are needed, and x has {sizes[:2]}"
        )
    labels = [own[:length] for own, length in zip(values, lengths, strict=True)]
    for i, own in enumerate(labels):
        if not ((own == 0) | (own == 1)).all():
            raise UserError(f"{place}[{i}]: labels must be 0 or 1")
    return [own == 1 for own in labels]


def _check_classes(classes: list, lengths: np.ndarray | None, place: str) -> None:
    """Refuses a missing class; classes of padded steps are ignored."""
    for i, own in enumerate(classes):
        if lengths is None and is_missing(own):
            raise UserError(f"{place}[{i}]: the class is missing; every example needs one")
        for step in range(0 if lengths is None else lengths[i]):
            if is_missing(own[step]):
                raise UserError(f"{place}[{i}, {step}]: the class is missing; every step needs one")
