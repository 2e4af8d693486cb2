"""Long sequences, sequentially and parallel in time."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from rnnlab.benchmark.accelerator.layer import describe, measure_layers
from rnnlab.benchmark.accelerator.records import Case, Row

_LENGTHS = (1024, 8192, 32_768, 131_072)
_LINEAR = ("min_gru", "lru", "rg_lru")
_BY_NEWTON = ("gru", "lstm/diagonal")
_ASSOCIATIVE = tuple(f"rnnlab/associative/{block}" for block in (1, 16, 256))
_SLOW = 32_768  # from this many steps, a loop of kernels takes seconds, several times
# (cells, ways beside the sequential one, batches, hidden)
_GRIDS = ((_LINEAR, _ASSOCIATIVE, (8,), 256), (_BY_NEWTON, ("rnnlab/newton",), (8, 16), 64))


def cases(tiny: bool) -> list[Case]:
    """Lists every length, the shortest first: linear cells by associative scans, others by Newton's method.

    The slowest loops are last: they would use up the time of the parallel methods.
    """
    found = []
    for length, (cells, ways, batches, hidden) in itertools.product((16,) if tiny else _LENGTHS, _GRIDS):
        sizes = [(2, length, 4)] if tiny else [(batch, length, hidden) for batch in batches]
        for cell, shape in itertools.product(cells[:1] if tiny else cells, sizes):
            found += [describe(way, cell, shape, "float32", "training") for way in ("rnnlab/sequential", *ways)]
    return sorted(found, key=lambda case: case["implementation"] == "rnnlab/sequential" and case["length"] >= _SLOW)


def measure(given: Sequence[Case], facts: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """Measures as described in `Part.measure`; a long loop is timed at least three times."""
    return measure_layers(given, facts, least=3, seconds=2.0)
