"""Analysis of rows: ratios, ranks that are unsafe due to noise, growth, sizes at which one overtakes another."""

import itertools
import math
from collections.abc import Iterable, Mapping
from statistics import geometric_mean
from typing import Any

import numpy as np

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import BOUND, OURS
from rnnlab.timing import Times

Row = dict[str, Any]
CASE = ("cell", "batch", "length", "hidden", "layers", "lengths", "dtype", "pass")
AXES = {"length": "T", "batch": "B", "hidden": "H", "layers": "L"}


def figures(case: Case, times: Times, limits: dict[str, Any]) -> Row:
    """Computes the throughput of a case, relative to the machine's limits from `measure_limits`.

    Shares are for the best time: of the operations per second of the largest product, and of the bytes per second of
    the fastest copy.
    """
    best = times.best
    return {
        "repeats": len(times.seconds),
        "best_ms": 1e3 * best,
        "median_ms": 1e3 * times.median,
        "spread": times.spread,
        "tokens_per_s": case.tokens / best,
        "us_per_step": None if case.is_ragged else 1e6 * best / case.length,
        "us_per_empty_step": 1e6 * limits["empty_step_s"],
        "flops": case.flops,
        "share_of_product_limit": case.flops / best / limits["flops_per_s"],
        "share_of_copy_limit": case.bytes / best / limits["copied_bytes_per_s"],
    }


def is_peer(name: str) -> bool:
    """Returns whether an implementation is a peer."""
    return name != BOUND and not is_ours(name)


def is_ours(name: str) -> bool:
    """Returns whether an implementation is ours, with any method."""
    return name.split("/")[0] == OURS


def measured(rows: Iterable[Row]) -> list[Row]:
    """Returns the rows with a time."""
    return [row for row in rows if "best_ms" in row]


def add_comparisons(rows: list[Row]) -> list[Row]:
    """Adds to the rows of one case the name of the best peer, the ratio to it (above 1: faster), and whether the rank
    is safe.

    A rank is unsafe if the best time of another implementation is closer than the larger spread of the two.
    """
    timed = measured(rows)
    best = min((row for row in timed if is_peer(row["implementation"])), key=lambda row: row["best_ms"], default=None)
    for row in timed:
        row["best_peer"] = best and best["implementation"]
        row["best_peer_ratio"] = best and best["best_ms"] / row["best_ms"]
        row["rank_unsafe"] = any(
            _too_near(row, other)
            for other in timed
            if other is not row and BOUND not in (row["implementation"], other["implementation"])
        )
    return rows


def _too_near(first: Row, second: Row) -> bool:
    gap = abs(math.log(first["best_ms"] / second["best_ms"]))
    return gap < math.log1p(max(first["spread"], second["spread"]))


def best_of_ours(rows: list[Row]) -> str:
    """Returns our fastest way to batch sequences of unequal lengths, over all cases that every way has; "rnnlab" for
    equal lengths."""
    ragged = [row for row in measured(rows) if row["lengths"] != "equal" and is_ours(row["implementation"])]
    names = dict.fromkeys(row["implementation"] for row in ragged)
    found = {name: ratios(ragged, name, OURS) for name in names}
    return min(found, key=lambda name: geometric_mean(found[name].values() or [math.inf]), default=OURS)


def fastest_of_ours(rows: list[Row]) -> list[Row]:
    """Returns the row of our fastest way for each case."""
    fastest: dict[tuple, Row] = {}
    for row in measured(rows):
        case = case_of(row)
        if is_ours(row["implementation"]) and (case not in fastest or row["best_ms"] < fastest[case]["best_ms"]):
            fastest[case] = row
    return list(fastest.values())


def ratios(rows: list[Row], numerator: str, denominator: str) -> dict[tuple, float]:
    """Returns the best time of one implementation relative to another, for each case that both have."""
    times = {(row["implementation"], *case_of(row)): row["best_ms"] for row in measured(rows)}
    cases = dict.fromkeys(case_of(row) for row in measured(rows))
    both = [case for case in cases if (numerator, *case) in times and (denominator, *case) in times]
    return {case: times[numerator, *case] / times[denominator, *case] for case in both}


def case_of(row: Row) -> tuple:
    """Returns the key of a row's case."""
    return tuple(row[field] for field in CASE)


def name_case(case: Mapping[str, Any]) -> str:
    """Names a case, or several that differ in fields not given: "lstm, B 16, H 128, float32, training"."""
    sizes = {name: case[name] for name in ("batch", "length", "hidden", "layers") if name in case}
    if sizes.get("layers") == 1:
        del sizes["layers"]
    words = [case["cell"], *(f"{AXES[name]} {size}" for name, size in sizes.items()), case["dtype"], case["pass"]]
    return ", ".join([*words, *([] if case["lengths"] == "equal" else [f"lengths of {case['lengths']}"])])


def by_axis(rows: list[Row], axis: str) -> list[tuple[Row, dict[str, list[Row]]]]:
    """Yields groups of at least two rows that differ only in one axis: their common fields, and the rows of each
    implementation in the order of the axis."""
    groups: dict[tuple, dict[str, list[Row]]] = {}
    others = [name for name in CASE if name != axis]
    for row in sorted(measured(rows), key=lambda r: r[axis]):
        groups.setdefault(tuple(row[name] for name in others), {}).setdefault(row["implementation"], []).append(row)
    kept = {rest: {name: found for name, found in named.items() if len(found) > 1} for rest, named in groups.items()}
    return [(dict(zip(others, rest, strict=True)), named) for rest, named in kept.items() if named]


def exponent(rows: list[Row], axis: str, figure: str = "best_ms") -> float:
    """Fits the slope of log(best time), or of another figure, over log(size), by least squares; 1 is proportional."""
    sizes, values = ([row[name] for row in rows] for name in (axis, figure))
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def crossings(named: dict[str, list[Row]], axis: str) -> list[tuple[str, str, float]]:
    """Returns `(winner of the larger, winner of the smaller, size)` wherever two implementations change places.

    The size is interpolated between the two measured ones at which the logarithm of the ratio changes sign.
    """
    found = []
    for first, second in itertools.combinations([name for name in named if name != BOUND], 2):
        times = {name: {row[axis]: row["best_ms"] for row in named[name]} for name in (first, second)}
        shared = sorted(times[first].keys() & times[second].keys())
        gaps = [(n, math.log(times[first][n] / times[second][n])) for n in shared]
        for (small, before), (large, after) in itertools.pairwise(gaps):
            if before * after < 0:
                share = before / (before - after)
                at = math.exp(math.log(small) + share * math.log(large / small))
                found.append((first, second, at) if after < 0 else (second, first, at))
    return found
