"""Conformance tests for built-in cells and your own.

    from rnnlab.testing import check_cell
    check_cell(my_cell)

Imports only cells and scans.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from rnnlab.cells import Cell
from rnnlab.scans.precision import exact_products
from rnnlab.testing import promises as kit
from rnnlab.testing.promises import Near

PROMISES = tuple(kit.PROMISES)
_FLOAT32 = 1e-5


@exact_products
def check_cell(
    cell: Cell, *, seed: int = 0, promises: Iterable[str] | None = None, methods: Iterable[str] | None = None
) -> None:
    """Checks that a cell keeps every promise of `scan`.

    The description fits its parameters; padded = unpadded (with NaN in the padding); chunked = whole; reversed =
    flipped; segments = separate sequences; lengths 0 and 1; `step_jacobian` = `jax.jacfwd`; the gradients of the
    reference = finite differences; every method = the reference, values and gradients, plain and with all options of
    `scan` at once, then also with NaN and infinity in the padding; bfloat16 within 1 % of float32 over the same rounded
    values. With one gate or one of `unit_params` at +-100, values and gradients of every method are finite and within
    1 % of float64; with all of them at +-100 they are finite.

    Args:
      cell: registered or your own.
      seed: of parameters, inputs and state.
      promises: those of `PROMISES` to check; all of them by default.
      methods: those of `methods_of(cell)` to compare with the reference; by default all except "pallas", whose kernels
        are slow without an accelerator.

    Raises:
      AssertionError: a broken promise; the message names the cell, the promise and the largest difference.
      KeyError: an unknown promise.
    """
    example = kit.draw_example(cell, seed)
    for name in PROMISES if promises is None else promises:
        try:
            _check(name, _near, cell, example, methods)
        except AssertionError as error:
            raise AssertionError(f"cell {cell.name!r}: {name}: {error}") from None


class Finding(NamedTuple):
    """The result of checking one promise of a cell.

    Attributes:
      promise: one of `PROMISES`.
      excess: the largest difference, divided by the allowed one: above 1 the promise is broken. Infinite if it is
        broken in another way.
      what: what differs and by how much, or how else the promise is broken; empty if nothing differs.
    """

    promise: str
    excess: float
    what: str


def measure_promise(cell: Cell, promise: str, *, seed: int = 0) -> Finding:
    """Measures how well a cell keeps one of `PROMISES`, for devices whose products are less exact than float32.

    Raises:
      KeyError: an unknown promise.
    """
    worst = Finding(promise, 0.0, "")

    def near(actual, expected, tolerance: float = _FLOAT32, what: str = "") -> None:
        nonlocal worst
        for gap, allowed in _gaps(actual, expected, tolerance):
            if (excess := _excess(gap, allowed)) > worst.excess:
                worst = Finding(promise, excess, _difference(what, gap, allowed))

    try:
        _check(promise, near, cell, kit.draw_example(cell, seed), None)
    except AssertionError as error:
        return Finding(promise, np.inf, str(error))
    return worst


def _check(promise: str, near: Near, cell: Cell, example: tuple, methods: Iterable[str] | None) -> None:
    check = kit.PROMISES[promise]
    if check in kit.OF_METHODS:
        check = functools.partial(check, ways=kit.list_ways(cell, methods))
    check(near, cell, *example)


def _near(actual, expected, tolerance: float = _FLOAT32, what: str = "") -> None:
    for gap, allowed in _gaps(actual, expected, tolerance):
        assert gap <= allowed, _difference(what, gap, allowed)  # a NaN fails, too


def _gaps(actual, expected, tolerance: float) -> Iterator[tuple[float, float]]:
    """Returns the largest difference of each array, and the allowed one."""
    for got, wanted in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert got.shape == wanted.shape, f"shape {got.shape}, should be {wanted.shape}"
        got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        allowed = tolerance * max(1.0, float(np.abs(wanted).max(initial=0.0)))
        yield float(np.abs(got - wanted).max(initial=0.0)), allowed


def _excess(gap: float, allowed: float) -> float:
    if gap == 0:
        return 0.0
    return gap / allowed if np.isfinite(gap) and allowed else np.inf


def _difference(what: str, gap: float, allowed: float) -> str:
    return f"{what}differs by {gap:.2e}, allowed {allowed:.0e}"
