"""What a benchmark leaves: a JSON and a CSV file with all rows, a table on the terminal, pictures."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
from statistics import geometric_mean
from typing import Any

from ml_collections import ConfigDict

from rnnlab.benchmark.analysis import (
    Row,
    by_length,
    case_of,
    crossings,
    exponent,
    is_peer,
    measured,
    ratios,
)
from rnnlab.benchmark.implementations import BOUND, OURS
from rnnlab.benchmark.plots import draw_pictures
from rnnlab.files import write_text
from rnnlab.printing import show, to_csv, to_json

_PACKAGES = ("jax", "jaxlib", "flax", "torch", "dm-haiku", "equinox")


def write_report(workdir: pathlib.Path, config: ConfigDict, limits: dict, rows: list[Row], *, last: bool) -> None:
    """Writes the files; after the last case the pictures, too, and the table to stdout."""
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
    """Best times in ms, a line for each case and a column for each implementation; ~ marks a rank that noise may turn.

    Where there is no time, the status stands below.
    """
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    cells = {(row["implementation"], *case_of(row)): _cell(row) for row in rows}
    lines = [["cell", "B", "T", "H", "dtype", "pass", *names]]
    lines += [
        [*map(str, case), *(cells.get((n, *case), "") for n in names)] for case in dict.fromkeys(map(case_of, rows))
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True)) for line in lines]
    missing = {f"{row['implementation']}, {row['cell']}: {row['status']}" for row in rows if row["status"] != "ok"}
    return "\n".join(["best time, ms", *text, *sorted(missing)])


def summary(rows: list[Row], limits: dict[str, Any]) -> str:
    """The machine's limits, ratios to each implementation over all cases, exponents and crossings over length."""
    lines = [
        f"{dtype} on {found['device']}: largest product {found['flops_per_s'] / 1e9:.0f} GFLOP/s, "
        f"copy {found['copied_bytes_per_s'] / 1e9:.1f} GB/s, empty step {1e6 * found['empty_step_s']:.2f} us"
        for dtype, found in limits.items()
    ]
    for name in dict.fromkeys(row["implementation"] for row in measured(rows)):
        pair = (OURS, name) if name == BOUND else (name, OURS)
        if name != OURS and (found := ratios(rows, *pair)):
            mean, least, most = geometric_mean(found.values()), min(found.values()), max(found.values())
            lines.append(
                f"{pair[0]} / {pair[1]}: geometric mean {mean:.2f}, {least:.2f} to {most:.2f}, {len(found)} cases"
            )
    best = [
        row["best_peer_ratio"] for row in measured(rows) if row["implementation"] == OURS and row["best_peer_ratio"]
    ]
    if best:
        lines.append(
            f"best peer / {OURS}: geometric mean {geometric_mean(best):.2f}, {min(best):.2f} to {max(best):.2f}"
        )
    for rest, named in by_length(rows).items():
        title = "{}, B {}, H {}, {}, {}".format(*rest)
        slopes = ", ".join(f"{name} T^{exponent(found):.2f}" for name, found in named.items())
        lines.append(f"{title}: {slopes}")
        lines += [f"{title}: {winner} overtakes {loser} at T = {at:.0f}" for winner, loser, at in crossings(named)]
        lines += [f"{title}: {name} took {_iterations(found)}" for name, found in named.items() if "newton" in name]
    return "\n".join(lines)


def _iterations(rows: list[Row]) -> str:
    fates = {True: "", False: " (then step by step)"}
    counts = [f"{row['newton_iterations']}{fates[row['newton_converged']]} at T = {row['length']}" for row in rows]
    return f"iterations: {', '.join(counts)}"


def _cell(row: Row) -> str:
    if "best_ms" not in row:
        return "-"
    mark = "~" if row["rank_unsafe"] and (is_peer(row["implementation"]) or row["implementation"] == OURS) else ""
    return f"{row['best_ms']:.3g}{mark}" if row["best_ms"] < 1 else f"{row['best_ms']:.1f}{mark}"


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
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "versions": versions,
    }
