"""Checks the promises of `rnnlab.testing` for every cell on devices with products less exact than float32."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import jax

from rnnlab.benchmark.accelerator.records import Case, Row
from rnnlab.cells import CELLS, find_cell
from rnnlab.testing import PROMISES, measure_promise

_FIRST = ("methods agree", "padded is unpadded", "jacobian is that of autodiff", "bfloat16 stays near float32")
_STRUCTURED = ("lstm/diagonal", "slstm/heads2")


def cases(tiny: bool) -> list[Case]:
    """Lists every promise of every cell, at default and at highest precision of products."""
    promises = sorted(PROMISES, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    cells = ["rnn"] if tiny else [*CELLS, *_STRUCTURED]
    grid = itertools.product(promises[2:4] if tiny else promises, ("default", "highest"), cells)
    return [{"cell": cell, "promise": promise, "precision": precision} for promise, precision, cell in grid]


def environment(case: Case) -> dict[str, str]:
    """Returns the environment: many small processes share the device, and compile hundreds of uncritical programs."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_FLAGS": "--xla_gpu_autotune_level=0"}


def measure(given: Sequence[Case], settled: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """Measures as described in `Part.measure`."""
    for case in given:
        with jax.default_matmul_precision(case["precision"]):
            found = measure_promise(find_cell(case["cell"]), case["promise"])
        yield case, {"kept": found.excess <= 1, "excess": found.excess, "what": found.what}
