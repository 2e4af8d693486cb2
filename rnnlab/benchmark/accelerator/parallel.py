"""Long sequences in one step after the other, and parallel in time."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from rnnlab.benchmark.accelerator.layer import describe, measure_layers
from rnnlab.benchmark.accelerator.records import Case, Row

_LENGTHS = (1024, 8192, 32_768, 131_072)
_LINEAR = ("min_gru", "lru", "rg_lru")
_BY_NEWTON = ("gru", "lstm/diagonal")
_ASSOCIATIVE = tuple(f"rnnlab/associative/{block}" for block in (1, 16, 256))
_SLOW = 32_768  # steps that take a loop of kernels seconds, and it is run several times
# (cells, ways beside the sequential one, batches, hidden)
_GRIDS = ((_LINEAR, _ASSOCIATIVE, (8,), 256), (_BY_NEWTON, ("rnnlab/newton",), (8, 16), 64))


def cases(tiny: bool) -> list[Case]:
    """Every length in turn, the shortest first: linear cells by associative scans, others by Newton's method.

    The slowest loops are last: they would take the time of all that is parallel.
    """
    found = []
    for length, (cells, ways, batches, hidden) in itertools.product((16,) if tiny else _LENGTHS, _GRIDS):
        sizes = [(2, length, 4)] if tiny else [(batch, length, hidden) for batch in batches]
        for cell, shape in itertools.product(cells[:1] if tiny else cells, sizes):
            found += [describe(way, cell, shape, "float32", "training") for way in ("rnnlab/sequential", *ways)]
    return sorted(found, key=lambda case: case["implementation"] == "rnnlab/sequential" and case["length"] >= _SLOW)


def measure(given: Sequence[Case], facts: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """What `Part.measure` says; a long loop is timed three times at least."""
    return measure_layers(given, facts, least=3, seconds=2.0)
