"""The tables of a run, in Markdown, from its rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rnnlab.benchmark.accelerator import records
from rnnlab.benchmark.accelerator.records import OK, Row

_LAYER = ("cell", "batch", "length", "hidden", "dtype", "pass")


def tables(rows: Sequence[Row]) -> str:
    """Returns all tables, without parts that have no row."""
    parts = {name: list(records.latest(rows, name).values()) for name in dict.fromkeys(row["part"] for row in rows)}
    made = [_TABLES[name](own) for name, own in parts.items()]
    return "\n\n".join([*made, _missing(parts)]) + "\n"


def _facts(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        if row["status"] != OK:
            continue
        if row["case"]["what"] == "machine":
            versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
            memory = f", {row['memory_bytes'] / 2**30:.0f} GiB for XLA" if row["memory_bytes"] else ""
            driver = f", driver {row['driver']}" if row["driver"] else ""
            lines.append(
                f"{row['devices']} x {row['device']} ({row['platform']}{memory}{driver}), {row['cores']} cores, "
                f"Python {row['python']}, {versions}; {row['run']}"
            )
        else:
            case = row["case"]
            lines.append(
                f"- {case['dtype']}, {case['precision']} precision: product of {case['side']}: "
                f"{row['flops_per_s'] / 1e12:.3g} TFLOP/s; copy {row['copied_bytes_per_s'] / 1e9:.4g} GB/s; "
                f"empty step of a loop {1e6 * row['empty_step_s']:.3g} us"
            )
    return "\n".join(["## Facts", "", *lines])


def _exactness(rows: list[Row]) -> str:
    measured = [row for row in rows if row["status"] == OK]
    title = "## Promises of `check_cell`: the largest difference relative to the tolerance; above 1 it is broken"
    table = _pivot(
        measured,
        ("promise", "precision"),
        lambda row: row["case"]["cell"],
        lambda row: "broken" if row["excess"] is None else f"{row['excess']:.2g}",
    )
    return f"{title}\n\n{table}"


def _layers(rows: list[Row]) -> str:
    measured = [row for row in rows if row["status"] == OK]
    found = ["## Layers, median ms"]
    for beside in dict.fromkeys(row["case"].get("beside", "") for row in measured):
        own = [row for row in measured if row["case"].get("beside", "") == beside]
        found.append(_pivot(own, _LAYER, lambda row: row["case"]["implementation"], _median))
    return "\n\n".join(found)


def _parallel(rows: list[Row]) -> str:
    measured = [row for row in rows if row["status"] == OK]

    def figure(row: Row) -> str:
        count = row.get("newton_iterations")
        if count is None:
            return _median(row)
        return f"{_median(row)} ({count} iterations{'' if row['newton_converged'] else ', not converged'})"

    table = _pivot(measured, _LAYER[:4], lambda row: row["case"]["implementation"], figure)
    return f"## Long sequences, forward and backward, median ms\n\n{table}"


def _loop(rows: list[Row]) -> str:
    measured = [row for row in rows if row["status"] == OK]

    def figure(row: Row) -> str:
        kernels = row.get("kernels_per_step")
        return _median(row) + (f" ({kernels:.3g} kernels per step)" if kernels else "")

    table = _pivot(measured, (*_LAYER[:4], "implementation"), lambda row: row["case"]["command_buffers"], figure)
    return f"## XLA's command buffers: median ms\n\n{table}"


def _job(rows: list[Row]) -> str:
    lines = [
        [
            *(str(row["case"][name]) for name in ("what", "batch", "dtype")),
            f"{row['median_ms']:.3g}",
            f"{row['tokens_per_s']:,.0f}",
            f"{(row['bytes'] or 0) / 2**20:,.0f}",
        ]
        for row in rows
        if row["status"] == OK
    ]
    head = ["what", "batch", "dtype", "median ms", "tokens per second", "memory of the program, MiB"]
    return f"## The main job's model\n\n{_markdown([head, *lines])}"


def _missing(parts: dict[str, list[Row]]) -> str:
    """Returns the number of cases without a figure, and the reasons."""
    lines = ["## Without a figure", ""]
    for name, rows in parts.items():
        without = [row for row in rows if row["status"] != OK]
        lines.append(f"- {name}: {len(without)} of {len(rows)}")
        lines += [f"  - {status}: {_names(own)}" for status, own in _by_status(without).items()]
    return "\n".join(lines)


def _by_status(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["status"], []).append(row)
    return found


def _names(rows: list[Row]) -> str:
    shown = [" ".join(str(value) for value in row["case"].values()) for row in rows[:3]]
    return "; ".join(shown) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def _median(row: Row) -> str:
    return f"{row['median_ms']:.3g}"


def _pivot(rows: list[Row], fields: Sequence[str], column: Callable[[Row], str], value: Callable[[Row], str]) -> str:
    """Makes a line for each combination of the fields and a column for each name, in the order of the rows."""
    names = list(dict.fromkeys(column(row) for row in rows))
    lines: dict[tuple, dict[str, str]] = {}
    for row in rows:
        lines.setdefault(tuple(row["case"][field] for field in fields), {})[column(row)] = value(row)
    body = [[*map(str, line), *(found.get(name, "") for name in names)] for line, found in lines.items()]
    return _markdown([[*fields, *names], *body])


def _markdown(lines: list[list[Any]]) -> str:
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body])


_TABLES = {
    "facts": _facts,
    "exactness": _exactness,
    "layers": _layers,
    "parallel": _parallel,
    "loop": _loop,
    "job": _job,
}
