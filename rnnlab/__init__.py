"""rnnlab: recurrent cells, scans and encoder-decoder models in JAX.

All public names are here, each imported on first use. Imports point one way:
cells <- scans <- models <- search <- tasks <- run <- app; `training` receives a task and imports only `tasks.base`.
Only tasks import `data`, `losses` and `metrics`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnlab.cells import CELLS, Cell, find_cell
    from rnnlab.models import Stack
    from rnnlab.run import Run, load, train
    from rnnlab.scans import Associative, Newton, Pallas, Plan, newton_scan, scan
    from rnnlab.testing import check_cell

__version__ = "0.1.0"
__all__ = [
    "CELLS",
    "Associative",
    "Cell",
    "Newton",
    "Pallas",
    "Plan",
    "Run",
    "Stack",
    "check_cell",
    "find_cell",
    "load",
    "newton_scan",
    "scan",
    "train",
]

# The module of each name; those that import training come last.
_HOMES = {
    "CELLS": "rnnlab.cells",
    "Cell": "rnnlab.cells",
    "find_cell": "rnnlab.cells",
    "Associative": "rnnlab.scans",
    "Newton": "rnnlab.scans",
    "Pallas": "rnnlab.scans",
    "Plan": "rnnlab.scans",
    "newton_scan": "rnnlab.scans",
    "scan": "rnnlab.scans",
    "Stack": "rnnlab.models",
    "check_cell": "rnnlab.testing",
    "Run": "rnnlab.run",
    "load": "rnnlab.run",
    "train": "rnnlab.run",
}


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if _HOMES[name] != "rnnlab.run":
            return _import(name)
        from rnnlab.extras import needs

        with needs("train", f"rnnlab.{name}"):
            return _import(name)


def _import(name: str) -> Any:
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
