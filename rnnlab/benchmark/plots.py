"""Pictures of a benchmark: time, compile time and memory against length, and the ratio to the best peer.

Matplotlib is imported where something is drawn: where only numbers are wanted, it need not be there.
"""

import pathlib
from collections.abc import Callable

from rnnlab.benchmark.analysis import Row, by_length, case_of, exponent, measured
from rnnlab.benchmark.implementations import OURS
from rnnlab.pictures import survived

_INCH = (7.0, 4.5)


def draw_pictures(workdir: pathlib.Path, rows: list[Row]) -> list[pathlib.Path]:
    """Draws what the rows allow (curves need two lengths, ratios a peer); returns the files."""
    paths = []
    against_length: dict[str, tuple[str, Callable[[Row], float | None]]] = {
        "time": ("best time, ms", lambda row: row["best_ms"]),
        "compile": ("compile time, s", lambda row: row.get("compile_s")),
        "memory": ("temporary memory, MB", lambda row: (row.get("temporary_bytes") or 0) / 1e6 or None),
    }
    for rest, named in by_length(rows).items():
        for name, (label, value) in against_length.items():
            path = workdir / f"{name}_{'_'.join(map(str, rest)).replace('/', '-')}.png"  # lstm/diagonal
            title = "{}, batch {}, hidden {}, {}, {}".format(*rest)
            with survived(path):
                if _draw_curves(path, title, label, named, value):
                    paths.append(path)
    ours = [row for row in measured(rows) if row["implementation"] == OURS and row["best_peer_ratio"]]
    if ours:
        with survived(path := workdir / "ratio_to_best_peer.png"):
            paths.append(_draw_ratios(path, ours))
    return paths


def _draw_curves(path, title, label, named: dict[str, list[Row]], value) -> bool:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCH, layout="constrained")
    axes = figure.subplots()
    for name, rows in named.items():
        points = [(row["length"], value(row)) for row in rows if value(row)]
        if len(points) > 1:
            slope = f", T^{exponent(rows):.2f}" if path.name.startswith("time") else ""
            axes.loglog(*zip(*points, strict=True), marker="o", label=name + slope)
    if not axes.lines:
        return False
    axes.set(title=title, xlabel="length T, steps", ylabel=label)
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    return True


def _draw_ratios(path: pathlib.Path, rows: list[Row]) -> pathlib.Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCH[0], 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = ["{} {}x{}x{} {} {}".format(*case_of(row)) for row in rows]
    bars = axes.barh(labels, [row["best_peer_ratio"] for row in rows])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.margins(x=0.12)  # the label of the longest bar stays within
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set(xlabel=f"time of the best peer / {OURS}; right of 1, {OURS} is faster")
    figure.savefig(path, dpi=120)
    return path
