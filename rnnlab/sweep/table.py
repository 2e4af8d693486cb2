"""The outcome of a sweep: a table, a picture, and a page with both.

Imports only `files`, `pictures` and `printing`.
"""

import base64
import html
import os
import pathlib
import sys
import urllib.parse
from collections.abc import Iterable, Sequence

from rnnlab.files import write_text
from rnnlab.pictures import survived
from rnnlab.printing import show, to_csv
from rnnlab.sweep.picture import draw_scores
from rnnlab.sweep.results import Done, folder_of, name_of

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; color: #1b1b1b; }
h1 { font-size: 1.6rem; line-height: 1.2; } img { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; } .best { font-weight: 600; background: #eef5ff; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
"""


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
    """Prints the best run on validation, and its score on the test split."""
    best = min(found, key=lambda done: done.rank)
    if best.chosen_by is None:
        return
    test = best.scores.get(metric)
    show(
        f"best on validation ({metric} {best.chosen_by:.4g}): {name_of(best.values)}; test {metric} {test}",
        file=sys.stderr,
    )


def _page(found: Sequence[Done], metric: str, workdir: pathlib.Path) -> str:
    ordered = sorted(found, key=lambda done: done.rank)
    head, rows = _cells(ordered, metric)
    body = "".join(
        _row("td", [_link(done, workdir), *map(_cell, row)], best=done is ordered[0] and done.chosen_by is not None)
        for done, row in zip(ordered, rows, strict=True)
    )
    title = html.escape(f"Sweep of {len(found)} runs: {workdir.resolve().name}")
    path = workdir / "sweep.png"
    drawn = base64.b64encode(path.read_bytes()).decode() if path.exists() else ""
    picture = f'<p><img alt="scores of the runs" src="data:image/png;base64,{drawn}"></p>' if drawn else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>The best run on validation ({html.escape(metric)}) comes first; other scores are those of the test split."
        f'</p><div class="wide"><table>{_row("th", ["run", *map(html.escape, head)])}{body}</table></div>{picture}'
        "</body></html>\n"
    )


def _link(done: Done, workdir: pathlib.Path) -> str:
    """Returns a link to the report of a run, or else to its output."""
    files = (f"{folder_of(done.values)}/{name}" for name in ("report.html", "log.txt"))
    found = next((name for name in files if os.path.exists(workdir / name)), None)  # or too long
    return f'<a href="{urllib.parse.quote(found)}">{pathlib.PurePath(found).name}</a>' if found else ""


def _cell(value: object) -> str:
    return html.escape("" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value))


def _row(kind: str, cells: Iterable[str], *, best: bool = False) -> str:
    mark = ' class="best"' if best else ""
    return f"<tr{mark}>{''.join(f'<{kind}>{cell}</{kind}>' for cell in cells)}</tr>"
