"""Tests that the default run skips, and `pytest -m nightly` runs."""

from collections.abc import Iterable

import pytest

from rnnlab.cells import CELLS


def only(*values) -> list:
    """Values of a parameter, or tuples of several."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.nightly) for v in values]


def but(values: Iterable, *few) -> list:
    """All values of a parameter: a few for every run, the others for a nightly one."""
    return [*few, *(pytest.param(value, marks=pytest.mark.nightly) for value in values if value not in few)]


def cells(*few: str) -> list:
    """The names of all cells, as `but`.

    For what another test holds every cell to: its formula, by every method.
    """
    return but(CELLS, *few)
