"""A recurrent layer by every implementation: ours by default, ours with other plans, and the peers."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from rnnlab.benchmark.accelerator.layer import describe, measure_layers
from rnnlab.benchmark.accelerator.records import Case, Row

_SHAPES = ((64, 64, 256), (128, 64, 512), (64, 1024, 768), (256, 16, 128), (1024, 8, 256), (16, 1024, 128))
_CELLS = ("lstm", "gru", "rnn", "slstm/heads4", "lstm/diagonal")
_WITH_PEERS = ("lstm", "gru", "rnn")
_PEERS = ("torch", "flax.nnx")
_KERNEL = "rnnlab/pallas"
_PLANS = ("rnnlab/step/all", "rnnlab/apart/all", "rnnlab/pull/all", "rnnlab/unroll/4", "rnnlab/unroll/8")


def cases(tiny: bool) -> list[Case]:
    """Lists ours and the peers in training, our plans in training, then both in the forward pass only.

    "rnnlab" uses `auto`, with a loop unrolled by 1; it is timed again together with its plans. "rnnlab/pallas" uses one
    fused kernel for all steps, where cell and device have one.
    """
    shapes, cells = (((2, 8, 8),), _CELLS[:1]) if tiny else (_SHAPES, _CELLS)
    dtypes = ("float32",) if tiny else ("float32", "bfloat16")
    grid = itertools.product(("training", "forward"), (_beside_peers, _plans), shapes, dtypes, cells)
    return [case for pass_, names, shape, dtype, cell in grid for case in names(cell, shape, dtype, pass_)]


def environment(case: Case) -> dict[str, str]:
    """Leaves torch, in the same process, its part of the device's memory."""
    return {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.6"}


def _beside_peers(cell: str, shape: tuple[int, int, int], dtype: str, pass_: str) -> Iterator[Case]:
    peers = _PEERS if cell in _WITH_PEERS else ()
    cudnn = ("jax.experimental.rnn",) if (cell, dtype) == ("lstm", "float32") else ()
    for name in ("rnnlab", _KERNEL, "lax.scan", *peers, *cudnn):
        yield describe(name, cell, shape, dtype, pass_, beside="peers")


def _plans(cell: str, shape: tuple[int, int, int], dtype: str, pass_: str) -> Iterator[Case]:
    for name in ("rnnlab", *_PLANS):
        yield describe(name, cell, shape, dtype, pass_, beside="plans")


def measure(given: Sequence[Case], facts: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """Measures as described in `Part.measure`."""
    return measure_layers(given, facts)
