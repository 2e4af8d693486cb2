"""What rows say together: ratios, ranks that noise makes unsafe, exponents, lengths at which one overtakes another."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import BOUND, OURS
from rnnlab.timing import Times

Row = dict[str, Any]
CASE = ("cell", "batch", "length", "hidden", "dtype", "pass")


def figures(case: Case, times: Times, limits: dict[str, Any]) -> Row:
    """What the times of a case come to, beside what `measure_limits` found that the machine can do at most.

    Shares are those of the best time: of the operations that the largest product does a second, and of the bytes that
    the fastest copy moves.
    """
    best = times.best
    return {
        "repeats": len(times.seconds),
        "best_ms": 1e3 * best,
        "median_ms": 1e3 * times.median,
        "spread": times.spread,
        "tokens_per_s": case.batch * case.length / best,
        "us_per_step": 1e6 * best / case.length,
        "us_per_empty_step": 1e6 * limits["empty_step_s"],
        "flops": case.flops,
        "share_of_product_limit": case.flops / best / limits["flops_per_s"],
        "share_of_copy_limit": case.bytes / best / limits["copied_bytes_per_s"],
    }


def is_peer(name: str) -> bool:
    """Whether an implementation is somebody else's."""
    return name != BOUND and name.split("/")[0] != OURS


def measured(rows: Iterable[Row]) -> list[Row]:
    """The rows with a time."""
    return [row for row in rows if "best_ms" in row]


def add_comparisons(rows: list[Row]) -> list[Row]:
    """Adds to the rows of one case each one's ratio to the best peer (above 1: faster), and whether its rank is safe.

    A rank is unsafe where another implementation's best time lies nearer than the larger spread of the two.
    """
    timed = measured(rows)
    peers = [row["best_ms"] for row in timed if is_peer(row["implementation"])]
    for row in timed:
        row["best_peer_ratio"] = min(peers) / row["best_ms"] if peers else None
        row["rank_unsafe"] = any(
            abs(math.log(row["best_ms"] / other["best_ms"])) < math.log1p(max(row["spread"], other["spread"]))
            for other in timed
            if other is not row and BOUND not in (row["implementation"], other["implementation"])
        )
    return rows


def ratios(rows: list[Row], numerator: str, denominator: str) -> dict[tuple, float]:
    """Best time of one implementation over that of another, for each case that both have."""
    times = {(row["implementation"], *case_of(row)): row["best_ms"] for row in measured(rows)}
    cases = dict.fromkeys(case_of(row) for row in measured(rows))
    both = [case for case in cases if (numerator, *case) in times and (denominator, *case) in times]
    return {case: times[numerator, *case] / times[denominator, *case] for case in both}


def case_of(row: Row) -> tuple:
    """What identifies a row's case."""
    return tuple(row[field] for field in CASE)


def by_length(rows: list[Row]) -> dict[tuple, dict[str, list[Row]]]:
    """Rows that differ in length alone, by the rest of the case and then by implementation, two lengths at least."""
    groups: dict[tuple, dict[str, list[Row]]] = {}
    for row in sorted(measured(rows), key=lambda r: r["length"]):
        rest = tuple(row[field] for field in CASE if field != "length")
        groups.setdefault(rest, {}).setdefault(row["implementation"], []).append(row)
    kept = {rest: {n: rs for n, rs in named.items() if len(rs) > 1} for rest, named in groups.items()}
    return {rest: named for rest, named in kept.items() if named}


def exponent(rows: list[Row]) -> float:
    """The slope of log(best time) over log(length), by least squares; 1 is proportional."""
    length, best = ([row[field] for row in rows] for field in ("length", "best_ms"))
    return float(np.polyfit(np.log(length), np.log(best), 1)[0])


def crossings(named: dict[str, list[Row]]) -> list[tuple[str, str, float]]:
    """`(winner of the longer, winner of the shorter, length)` wherever two implementations change places.

    The length is interpolated between two measured ones, in which the logarithm of the ratio changes its sign.
    """
    found = []
    for first, second in itertools.combinations([name for name in named if name != BOUND], 2):
        times = {name: {row["length"]: row["best_ms"] for row in named[name]} for name in (first, second)}
        shared = sorted(times[first].keys() & times[second].keys())
        gaps = [(n, math.log(times[first][n] / times[second][n])) for n in shared]
        for (short, before), (long, after) in itertools.pairwise(gaps):
            if before * after < 0:
                share = before / (before - after)
                at = math.exp(math.log(short) + share * math.log(long / short))
                found.append((first, second, at) if after < 0 else (second, first, at))
    return found
