"""Pictures of a benchmark: time, compile time and memory against length, and the ratio to the best peer; bars reach
from the best time to the median.

Matplotlib is imported only for drawing: numbers alone do not need it.
"""

import pathlib
from collections.abc import Callable

import numpy as np

from rnnlab.benchmark.analysis import Row, by_axis, exponent, fastest_of_ours, measured, name_case
from rnnlab.pictures import survived

_INCH = (7.0, 4.5)


def draw_pictures(workdir: pathlib.Path, rows: list[Row]) -> list[pathlib.Path]:
    """Draws the pictures that the rows allow (curves need two lengths, ratios a peer); returns the files."""
    paths = []
    against_length: dict[str, tuple[str, Callable[[Row], float | None]]] = {
        "time": ("best time, ms", lambda row: row["best_ms"]),
        "compile": ("compile time, s", lambda row: row.get("compile_s")),
        "memory": ("temporary memory, MB", lambda row: (row.get("temporary_bytes") or 0) / 1e6 or None),
    }
    for rest, named in by_axis(rows, "length"):
        for name, (label, value) in against_length.items():
            path = workdir / f"{name}_{_slug(name_case(rest))}.png"
            with survived(path):
                if _draw_curves(path, name_case(rest), label, named, value):
                    paths.append(path)
    for kind in dict.fromkeys(row["lengths"] for row in rows):
        own = [row for row in measured(rows) if row["lengths"] == kind]
        ours = [row for row in fastest_of_ours(own) if row["best_peer"]]
        if ours:
            name = "ratio_to_best_peer.png" if kind == "equal" else f"ratio_to_best_peer_{kind}.png"
            with survived(path := workdir / name):
                paths.append(_draw_ratios(path, ours))
    return paths


def _slug(title: str) -> str:
    return title.replace(", ", "_").replace(" ", "").replace("/", "-")  # lstm/diagonal


def _draw_curves(path, title, label, named: dict[str, list[Row]], value) -> bool:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCH, layout="constrained")
    axes = figure.subplots()
    is_time = path.name.startswith("time")
    for name, rows in named.items():
        points = [(row["length"], value(row), row["spread"] * is_time) for row in rows if value(row)]
        if len(points) > 1:
            lengths, values, spreads = map(np.array, zip(*points, strict=True))
            slope = f", T^{exponent(rows, 'length'):.2f}" if is_time else ""
            axes.errorbar(lengths, values, [0 * values, values * spreads], marker="o", capsize=3, label=name + slope)
    if not axes.containers:
        return False
    axes.set(title=title, xlabel="length T, steps", ylabel=label, xscale="log", yscale="log")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    return True


def _draw_ratios(path: pathlib.Path, rows: list[Row]) -> pathlib.Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCH[0] + 3, 1.4 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    cases = [name_case(row).split(", ") for row in rows]
    shared = [word for word in cases[0][1:] if len(rows) > 1 and all(word in case for case in cases)]
    labels = [
        f"{', '.join(word for word in case if word not in shared)} ({row['best_peer']} / {row['implementation']})"
        for case, row in zip(cases, rows, strict=True)
    ]
    ratios = [row["best_peer_ratio"] for row in rows]
    spreads = [row["best_peer_ratio"] * row["spread"] for row in rows]
    bars = axes.barh(labels, ratios, xerr=[spreads, [0.0] * len(rows)], capsize=2)
    axes.bar_label(
        bars, [f"{row['best_peer_ratio']:.2f}{'~' if row['rank_unsafe'] else ''}" for row in rows], padding=3
    )
    axes.margins(x=0.2)  # the label of the longest bar stays within
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    title = "\n".join(filter(None, ["Best time of the best peer / the fastest of ours", ", ".join(shared)]))
    axes.set(title=title, xlabel="ratio; right of 1, ours is faster")
    figure.savefig(path, dpi=120)
    return path
