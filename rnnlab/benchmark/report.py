"""The output of a benchmark: a JSON and a CSV file with all rows, a table on the terminal, pictures."""

import datetime
import importlib.metadata
import pathlib
import platform
from collections.abc import Collection
from statistics import geometric_mean
from typing import Any

from ml_collections import ConfigDict

from rnnlab.benchmark.analysis import (
    AXES,
    Row,
    best_of_ours,
    by_axis,
    case_of,
    crossings,
    exponent,
    fastest_of_ours,
    is_ours,
    is_peer,
    measured,
    name_case,
    ratios,
)
from rnnlab.benchmark.implementations import BOUND, count_cores
from rnnlab.benchmark.plots import draw_pictures
from rnnlab.files import write_text
from rnnlab.printing import show, to_csv, to_json

_USUAL = {"L": "1", "lengths": "equal"}  # columns of the table that are dropped if they have only this value
_FASTEST = "fastest of ours"
_PACKAGES = ("jax", "jaxlib", "flax", "torch", "dm-haiku", "equinox")


def write_report(workdir: pathlib.Path, config: ConfigDict, limits: dict, rows: list[Row], *, last: bool) -> None:
    """Writes the files; after the last case also the pictures, and the table to stdout."""
    record = {"machine": _machine(), "limits": limits, "config": config.to_dict(), "rows": rows}
    write_text(workdir / "benchmark.json", to_json(record, indent=1))
    fields = list(dict.fromkeys(key for row in rows for key in row))
    write_text(workdir / "benchmark.csv", to_csv([fields, *(map(row.get, fields) for row in rows)]))
    if last:
        show(table(rows))
        show(summary(rows, limits))
        for path in draw_pictures(workdir, rows):
            show(path)


def table(rows: list[Row]) -> str:
    """Makes a table of best times in ms, a line per case and a column per implementation; ~ marks a rank that noise may
    change.

    The last column names the best peer, and its time relative to the best of ours. If a time is missing, the status is
    below the table.
    """
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    lines = [["cell", "B", "T", "H", "L", "lengths", "dtype", "pass", *names, "best peer / best of ours"]]
    for case in dict.fromkeys(map(case_of, rows)):
        own = {row["implementation"]: row for row in rows if case_of(row) == case}
        cells = [_cell(own[name]) if name in own else "" for name in names]
        lines.append([*map(str, case), *cells, _best_peer(list(own.values()))])
    columns = [
        column for column in zip(*lines, strict=True) if any(value != _USUAL.get(column[0], "") for value in column[1:])
    ]
    widths = [max(map(len, column)) for column in columns]
    text = [
        "  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True))
        for line in zip(*columns, strict=True)
    ]
    missing = {f"{row['implementation']}, {row['cell']}: {row['status']}" for row in rows if row["status"] != "ok"}
    return "\n".join(["best time, ms", *text, *sorted(missing)])


def _best_peer(rows: list[Row]) -> str:
    ours = next(iter(fastest_of_ours(rows)), None)
    if ours is None or ours["best_peer"] is None:
        return ""
    return f"{ours['best_peer']} / {ours['implementation']} {ours['best_peer_ratio']:.2f}{_mark(ours)}"


def summary(rows: list[Row], limits: dict[str, Any]) -> str:
    """Summarises the machine's limits, ratios between implementations over all cases, and growth of cost with size."""
    lines = [
        f"{dtype} on {found['device']}: largest product {found['flops_per_s'] / 1e9:.0f} GFLOP/s, "
        f"copy {found['copied_bytes_per_s'] / 1e9:.1f} GB/s, empty step {1e6 * found['empty_step_s']:.2f} us"
        for dtype, found in limits.items()
    ]
    for kind in dict.fromkeys(row["lengths"] for row in rows):
        lines += _compare([row for row in rows if row["lengths"] == kind])
    for axis in AXES:
        for rest, named in by_axis(rows, axis):
            lines += _growth(rest, named, axis)
    return "\n".join(lines)


def _compare(rows: list[Row]) -> list[str]:
    """Lists ratios of each implementation to one of our ways, and, with several, to the fastest of each case."""
    ours = best_of_ours(rows)
    peers = [row for row in rows if not is_ours(row["implementation"])]
    fastest = fastest_of_ours(rows)
    several = {row["implementation"] for row in fastest} != {ours}
    named = [row | {"implementation": _FASTEST} for row in fastest]
    return _ratios_to(rows, ours) + (_ratios_to([*peers, *named], _FASTEST) if several else [])


def _ratios_to(rows: list[Row], ours: str) -> list[str]:
    lines = []
    for name in dict.fromkeys(row["implementation"] for row in measured(rows)):
        pair = (ours, name) if name == BOUND else (name, ours)
        if name != ours and (found := ratios(rows, *pair)):
            lines.append(f"{pair[0]} / {pair[1]}: {_range(found.values())}, {len(found)} cases")
    best = [row["best_peer_ratio"] for row in measured(rows) if row["implementation"] == ours and row["best_peer"]]
    return [*lines, f"best peer / {ours}: {_range(best)}"] if best else lines


def _range(values: Collection[float]) -> str:
    return f"geometric mean {geometric_mean(values):.2f}, {min(values):.2f} to {max(values):.2f}"


def _growth(rest: Row, named: dict[str, list[Row]], axis: str) -> list[str]:
    """Lists the growth of time with a size, with the length also of compile time and memory; and crossings."""
    title, symbol = name_case(rest), AXES[axis]
    slopes = ", ".join(f"{name} {symbol}^{exponent(found, axis):.2f}" for name, found in named.items())
    lines = [f"{title}: time {slopes}"]
    if axis == "length":
        for what, figure in (("compile", "compile_s"), ("memory", "temporary_bytes")):
            known = {name: found for name, found in named.items() if all(row.get(figure) for row in found)}
            slopes = ", ".join(f"{name} {symbol}^{exponent(found, axis, figure):.2f}" for name, found in known.items())
            lines += [f"{title}: {what} {slopes}"] if slopes else []
    lines += [
        f"{title}: {winner} overtakes {loser} at {symbol} = {at:.0f}" for winner, loser, at in crossings(named, axis)
    ]
    return lines + [f"{title}: {name} took {_iterations(found)}" for name, found in named.items() if "newton" in name]


def _iterations(rows: list[Row]) -> str:
    fates = {True: "", False: " (then sequential)"}
    counts = [f"{row['newton_iterations']}{fates[row['newton_converged']]} at T = {row['length']}" for row in rows]
    return f"iterations: {', '.join(counts)}"


def _cell(row: Row) -> str:
    if "best_ms" not in row:
        return "-"
    digits = ".3g" if row["best_ms"] < 1 else ".1f"
    return f"{row['best_ms']:{digits}}{_mark(row)}"


def _mark(row: Row) -> str:
    ranked = is_peer(row["implementation"]) or is_ours(row["implementation"])
    return "~" if row["rank_unsafe"] and ranked else ""


def _machine() -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    model = ""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = models[0].partition(":")[2].strip() if models else ""
    return {
        "cpu": model or platform.processor(),
        "cores": count_cores(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "versions": versions,
    }
