"""Tests that the default run skips, and `pytest -m nightly` runs."""

import pytest

from rnnlab.cells import CELLS

# Those that an ordinary run tries where another test holds every cell to its formula, by every method.
_FEW = ("slstm", "lru")


def only(*values) -> list:
    """Values of a parameter, or tuples of several."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.nightly) for v in values]


def cells() -> list:
    """The names of all cells: a few for every run, the others for a nightly one."""
    return [*_FEW, *only(*(name for name in CELLS if name not in _FEW))]
