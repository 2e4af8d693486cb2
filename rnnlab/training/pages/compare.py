"""The comparison of several runs: what differs in their configs, their scores, and their curves over each other."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.page import figures, page, paragraph, section, table
from rnnlab.pictures import drawable, drawn, letters, picture, survived
from rnnlab.printing import show
from rnnlab.training.pages.files import RunFiles
from rnnlab.training.plots import Points, panel_axes, panels, panels_size
from rnnlab.training.reporting import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PICTURE = "compare.png"
_LONGEST = 40  # characters of the name of a run
_NO_VALUE = "-"
_ABOUT_CURVES = "Each run in its colour; where a value has both, training is in a light shade."


def compare(workdirs: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Writes `compare.html` and `compare.png`, and prints the config fields that differ and the scores of each run.

    Args:
      workdirs: of two runs or more, of the same task.
      folder: for the page and the picture; created if missing.

    Raises:
      UserError: fewer than two runs, one that cannot be read, or runs of different tasks.
    """
    if len(workdirs) < 2:
        raise UserError("--mode=compare: needs two work directories or more, such as --mode=compare runs/a runs/b")
    runs = [RunFiles(workdir) for workdir in workdirs]
    for run in runs[1:]:
        if _task(run) != _task(runs[0]):
            raise UserError(
                f"--mode=compare: {run.workdir} is a run of the task {_task(run)}, {runs[0].workdir} of "
                f"{_task(runs[0])}; only runs of the same task can be compared"
            )
    names = _names(workdirs)
    tables = {"Config fields that differ": _differing(runs), "Scores": _score_rows(runs)}
    folder.mkdir(parents=True, exist_ok=True)
    _draw(folder / _PICTURE, names, runs)
    write_text(folder / "compare.html", _page(names, runs, tables))
    for title, rows in tables.items():
        for line in _lines((title, *names), rows):
            show(line)
        show("")
    show(folder / "compare.html")


def _task(run: RunFiles) -> str:
    return f"{run.config.experiment} ({run.kind.__name__})"


def _names(workdirs: Sequence[pathlib.Path]) -> list[str]:
    """Returns the paths from the folder that all runs share."""
    paths = [str(path.absolute()) for path in workdirs]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, shared) for path in paths]


def _differing(runs: Sequence[RunFiles]) -> list[list[str]]:
    """Returns a row for each config field that differs: its path, and its value in each run."""
    values = {path: [run.fields[path] for run in runs] for path in runs[0].fields}
    return [[path, *map(str, own)] for path, own in values.items() if any(value != own[0] for value in own[1:])]


def _score_rows(runs: Sequence[RunFiles]) -> list[list[str]]:
    """Returns a row for each score: those of the ended run, then those of the best or last step on validation."""
    scores = [_scores(run) for run in runs]
    names = dict.fromkeys(name for own in scores for name in own)
    return [[name, *(_shown(own.get(name)) for own in scores)] for name in names]


def _scores(run: RunFiles) -> dict[str, Any]:
    last = {name: lines["validation"][-1][1] for name, lines in run.curves.items() if "validation" in lines}
    ended = run.scores or {}
    split = ended.get("split")
    found = {"last step": f"{run.last_step:,}{'' if ended else ' (not ended)'}"}
    found |= {f"{split} {name}": value for name, value in ended.items() if name != "split"}
    return found | {f"last validation {name}": value for name, value in last.items()}


def _shown(value: Any) -> str:
    if value is None:
        return _NO_VALUE
    return short(value) if isinstance(value, float) else str(value)


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table on a terminal."""
    cells = [head, *rows]
    widths = [max(letters(row[column]) for row in cells) for column in range(len(head))]
    padded = ((cell + " " * (width - letters(cell)) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return ["  ".join(row).rstrip() for row in padded]


def _titles(runs: Sequence[RunFiles]) -> dict[str, str]:
    """Returns the curves to draw, with their titles; none if no run has a task that can be loaded."""
    task = next((run.task for run in runs if run.task is not None), None)
    return panels(task, {name for run in runs for name in run.curves}) if task else {}


def _labels(names: Sequence[str]) -> list[str]:
    return [drawable(name, longest=_LONGEST) for name in names]


def _draw(path: pathlib.Path, names: Sequence[str], runs: Sequence[RunFiles]) -> None:
    """Draws a panel for each curve, with a line for each run."""
    with survived(path):
        titles, labels = _titles(runs), _labels(names)
        with picture(path, *panels_size(max(1, len(titles)))) as figure:
            for axis, (name, title) in zip(panel_axes(figure, len(titles)), titles.items(), strict=True):
                _draw_curve(axis, labels, [run.curves.get(name, {}) for run in runs])
                axis.set_title(title)


def _draw_curve(axis: "Axes", labels: Sequence[str], curves: Sequence[Mapping[str, Points]]) -> None:
    """Draws the curve of each run in its colour: validation, and in a light shade training."""
    for number, (label, by_split) in enumerate(zip(labels, curves, strict=True)):
        for split, points in by_split.items():
            light = split == "train" and len(by_split) > 1
            axis.plot(
                *zip(*points, strict=True),
                color=f"C{number % 10}",
                alpha=0.35 if light else 1,
                marker="o" if len(points) == 1 else None,
                label=None if light else label,
            )
    axis.set(xlabel="step")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")


def _page(names: Sequence[str], runs: Sequence[RunFiles], tables: Mapping[str, list[list[str]]]) -> str:
    found, labels = list[tuple[str, bytes]](), _labels(names)
    for name, title in _titles(runs).items():
        found += drawn(title, _draw_curve, labels, [run.curves.get(name, {}) for run in runs])
    problems = [paragraph(problem, style="missing") for run in runs for problem in run.problems]
    bodies = [
        section(title, table(("", *labels), rows), name=title.split()[0].lower()) for title, rows in tables.items()
    ]
    curves = section("Curves", paragraph(_ABOUT_CURVES) + figures(found), name="curves")
    return page(f"{runs[0].config.experiment}: {len(runs)} runs", "".join((*problems, *bodies, curves)))
