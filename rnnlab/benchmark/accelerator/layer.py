"""Layers built in parallel and timed in turn: shared by the parts on layers, on long sequences and on loops."""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rnnlab.benchmark.accelerator.facts import limits_of
from rnnlab.benchmark.accelerator.records import OK, Case, Row
from rnnlab.benchmark.analysis import figures
from rnnlab.benchmark.cases import Case as LayerCase
from rnnlab.benchmark.implementations import build, status_of
from rnnlab.timing import time_in_turn

_WARM_UP = 1  # after a first run that checks whether a layer runs


def describe(
    implementation: str, cell: str, shape: tuple[int, int, int], dtype: str, pass_: str, **others: Any
) -> Case:
    """Makes a case of shape (batch, time, hidden)."""
    sizes = dict(zip(("batch", "length", "hidden"), shape, strict=True))
    return {**others, "cell": cell, **sizes, "dtype": dtype, "pass": pass_, "implementation": implementation}


def measure_layers(
    given: Sequence[Case],
    facts: Mapping[str, Row],
    *,
    repeats: int = 10,
    least: int = 10,
    seconds: float = 3.0,
    more: Callable[[Case, Any], Row] = lambda case, layer: {},
) -> Iterator[tuple[Case, Row]]:
    """Builds all cases, with as many threads as cores, then times those of one layer in turn.

    Args:
      given: neighbours that differ only in their implementation are timed in turn.
      facts: rows of the part on facts, for the limits of the machine.
      repeats, least, seconds: as in `time_in_turn`.
      more: measures further figures of a timed layer.
    """
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        built = list(threads.map(_built, given))
    ready = []
    for case, (layer, row) in zip(given, built, strict=True):
        if layer is None:
            yield case, row
        else:
            ready.append((case, layer, row))
    for _, alike in itertools.groupby(ready, lambda own: {**own[0], "implementation": ""}):
        running = []
        for case, layer, row in alike:
            if (failure := _failure(layer)) is None:
                running.append((case, layer, row))
            else:
                yield case, {"status": failure}
        yield from _timed(running, facts, more, repeats=repeats, least=least, seconds=seconds)


def _built(case: Case) -> tuple[Any, Row]:
    """Returns the layer, None if it cannot be built, and its figures so far."""
    try:
        layer = build(case["implementation"], _layer_case(case))
        return layer, {"status": OK, **layer.build()}
    except Exception as error:  # a peer that is not installed, a compiler's error, too little memory: the row says
        return None, {"status": status_of(error)}


def _failure(layer: Any) -> str | None:
    """Returns why a layer does not run, None if it does."""
    try:
        layer.run()
    except Exception as error:
        return status_of(error)
    return None


def _timed(running: list, facts: Mapping[str, Row], more: Callable, **how: Any) -> Iterator[tuple[Case, Row]]:
    try:
        found = time_in_turn({i: own[1].run for i, own in enumerate(running)}, warm_up=_WARM_UP, **how)
    except Exception as error:
        yield from ((case, {"status": status_of(error)}) for case, _, _ in running)
        return
    for i, (case, layer, row) in enumerate(running):
        own = _layer_case(case)
        row["bytes"] = row.get("program_bytes") or layer.device_peak_bytes()
        yield case, {**row, **figures(own, found[i], limits_of(facts, own.dtype)), **_further(case, layer, more)}


def _further(case: Case, layer: Any, more: Callable[[Case, Any], Row]) -> Row:
    """Returns further figures, or why they are missing: too little memory or no profiler must not cost the times."""
    try:
        return {**layer.facts(), **more(case, layer)}
    except Exception as error:
        return {"further": status_of(error)}


def _layer_case(case: Case) -> LayerCase:
    return LayerCase(case["cell"], case["batch"], case["length"], case["hidden"], case["dtype"], case["pass"])
