"""Reports as rows of one table in Markdown."""

from collections.abc import Iterator, Mapping

from rnnlab.aot.compiling import Report

_COLUMNS = ("program", "part", "steps", "kernels", "collectives", "memory (MB)", "spilled (bytes)", "compiler (CPU s)")
_MEGABYTE = 1e6


def heading() -> str:
    """Returns the head of the table."""
    return f"{_row(*_COLUMNS)}\n{_row(*['---'] * len(_COLUMNS))}"


def rows_of(name: str, report: Report) -> Iterator[str]:
    """Yields a row for a program, of what runs outside loops, then one for each of its loops, of one step."""
    spilled = "" if report.spilled_bytes is None else str(report.spilled_bytes)
    outside, memory = report.program, f"{report.peak_bytes / _MEGABYTE:.1f}"
    kernels, collectives = _counts(outside.kernels), _counts(outside.collectives)
    yield _row(name, "outside loops", "", kernels, collectives, memory, spilled, f"{report.seconds:.1f}")
    for number, loop in enumerate(outside.loops, 1):
        part = f"{'inner ' * loop.depth}loop {number}{', backward' if loop.backward else ''}"
        steps = "" if loop.steps is None else str(loop.steps)
        stop = f"; {loop.condition} to decide whether to stop" if loop.condition else ""
        yield _row("", part, steps, _counts(loop.kernels) + stop, _counts(loop.collectives), "", "", "")


def _counts(found: Mapping[str, int]) -> str:
    """Writes counts by operation: the sum, then each of them."""
    each = ", ".join(f"{number} {operation}" for operation, number in sorted(found.items()))
    return f"{sum(found.values())}: {each}" if found else "0"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
