"""The outcome of a sweep: a table, a picture, and a page with both.

Imports only `files`, `page`, `pictures` and `printing`.
"""

import os
import pathlib
import sys
import urllib.parse
from collections.abc import Sequence

from rnnlab import page
from rnnlab.files import write_text
from rnnlab.pictures import survived
from rnnlab.printing import show, to_csv
from rnnlab.sweep.picture import draw_scores
from rnnlab.sweep.results import Done, folder_of, name_of


def write_table(found: Sequence[Done], metric: str, workdir: pathlib.Path) -> None:
    """Writes `sweep.csv`, in the order of the runs, and prints it; prints the best run; draws `sweep.png`; writes
    `sweep.html`, the best run first.

    Args:
      found: all runs, with values of the same fields.
      metric: the one that selects on validation.
    """
    head, rows = _cells(found, metric)
    table = to_csv([head, *rows])
    write_text(workdir / "sweep.csv", table)
    show(table.removesuffix("\n"))
    _show_best(found, metric)
    (path := workdir / "sweep.png").unlink(missing_ok=True)
    with survived(path):
        draw_scores(found, metric, path)
    write_text(workdir / "sweep.html", _page(found, metric, workdir))


def _cells(found: Sequence[Done], metric: str) -> tuple[list[str], list[list]]:
    """Returns the head of the table and its rows."""
    names = list(dict.fromkeys(name for done in found for name in done.scores))
    steps = ["training.steps"] if any(done.steps for done in found) else []  # of successive halving
    head = [*found[0].values, *steps, *names, f"validation_{metric}", "failure"]
    rows = [
        [*done.values.values(), *[done.steps][: len(steps)], *map(done.scores.get, names), done.chosen_by, done.failure]
        for done in found
    ]
    return head, rows


def _show_best(found: Sequence[Done], metric: str) -> None:
    """Prints the best run on validation, and its final score."""
    best = min(found, key=lambda done: done.rank)
    if best.chosen_by is None:
        return
    final = f"{best.scores.get('split', 'test')} {metric} {best.scores.get(metric)}"
    show(
        f"best on validation ({metric} {best.chosen_by:.4g}): {name_of(best.values)}; {final}",
        file=sys.stderr,
    )


def _page(found: Sequence[Done], metric: str, workdir: pathlib.Path) -> str:
    ordered = sorted(found, key=lambda done: done.rank)
    head, rows = _cells(ordered, metric)
    has_best = ordered[0].chosen_by is not None
    cells = [[_link(done, workdir), *map(_cell, row)] for done, row in zip(ordered, rows, strict=True)]
    row_styles = ["best" * has_best, *[""] * (len(ordered) - 1)]
    scores = {"training.steps", f"validation_{metric}"}.union(*(done.scores for done in ordered))
    styles = ["number" * (name in scores) for name in ("run", *head)]
    about = f"The best run on validation ({metric}) comes first; the other scores are those of the column split."
    body = page.paragraph(about) + page.table(["run", *head], cells, styles=styles, row_styles=row_styles)
    if (path := workdir / "sweep.png").exists():
        body += page.figures([("scores of the runs", path.read_bytes())])
    return page.page(f"Sweep of {len(found)} runs: {workdir.resolve().name}", body)


def _link(done: Done, workdir: pathlib.Path) -> str:
    """Returns a link to the report of a run, or else to its output."""
    files = (f"{folder_of(done.values)}/{name}" for name in ("report.html", "log.txt"))
    found = next((name for name in files if os.path.exists(workdir / name)), None)  # or too long
    return page.link(pathlib.PurePath(found).name, urllib.parse.quote(found)) if found else ""


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
