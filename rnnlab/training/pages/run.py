"""The page of a run, `report.html`: what was trained on what, how training went, and what the model does."""

import pathlib
import statistics
from collections.abc import Callable
from typing import Any

from rnnlab.config import each_field
from rnnlab.errors import UserError
from rnnlab.files import undamaged, write_text
from rnnlab.page import details, figures, page, paragraph, preformatted, section, table
from rnnlab.pictures import drawn, survived
from rnnlab.tasks.base import Task
from rnnlab.training.pages.files import RunFiles
from rnnlab.training.pages.flow import flow_body, gates_body
from rnnlab.training.plots import draw_limit, draw_panel, panels
from rnnlab.training.reporting import read_compiled, read_skipped, short
from rnnlab.training.step import running_statistics, split_model

_LISTED = 20  # skipped steps


def write_page(task: Task) -> None:
    """Writes `report.html` of a run that has just ended; a failure is only a warning."""
    path = task.workdir / "report.html"
    with survived(path):
        write_text(path, _page(RunFiles(task.workdir, task)))


def write_page_of(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` of a run at any time, and returns its path.

    Raises:
      UserError: not a work directory, or its config is damaged.
    """
    path = workdir / "report.html"
    write_text(path, _page(RunFiles(workdir)))
    return path


def _page(run: RunFiles) -> str:
    bodies = [section(title, _whole(run, body), name=name) for name, (title, body) in _SECTIONS.items()]
    return page(f"{run.config.experiment}: {run.workdir.absolute().name}", _start(run) + "".join(bodies))


def _whole(run: RunFiles, body: Callable[[RunFiles], str]) -> str:
    """Returns the body of a section, or what is damaged."""
    try:
        with undamaged(run.workdir):
            return body(run)
    except UserError as error:
        return _missing(str(error))


def _start(run: RunFiles) -> str:
    """Returns the state of the run, and what of it cannot be read."""
    steps = run.config.training.steps
    ended = "ended" if run.scores else "has not ended (still in training, or stopped)"
    machine = f"; {run.start['machine']}" if run.start else ""
    state = paragraph(f"The run {ended}; last logged step: {run.last_step:,} of {steps:,}{machine}.")
    return state + "".join(paragraph(problem, style="missing") for problem in run.problems)


def _missing(what: str) -> str:
    return paragraph(what, style="missing")


def _scores(run: RunFiles) -> str:
    """Returns the scores of the ended run, else those of its last evaluation."""
    if run.scores:
        best = run.selection or {}
        chosen = f"Best step {best['step']:,} by {best['metric']} on validation. " if best else ""
        title, scores = f"{chosen}Scores of the {run.scores['split']} split:", run.scores
    else:
        scores = {name: lines["validation"][-1][1] for name, lines in run.curves.items() if "validation" in lines}
        title = "The test split is scored at the end. The last evaluation on validation:"
    if not scores:
        return _missing("Not evaluated yet.")
    rows = [(name, _text(value)) for name, value in scores.items() if name != "split"]
    return paragraph(title) + table(("score", "value"), rows, styles=("", "number"))


def _samples(run: RunFiles) -> str:
    """Returns the samples, with right and wrong ones marked."""
    samples = (run.shown or {}).get("samples")
    if run.shown is None:
        return _missing("There is no shown.json yet: samples are predicted at the end of the run.")
    if not samples:
        return paragraph("The task shows no samples, or config.evaluation.samples is 0.")
    if not any(sample["input"] for sample in samples):
        return "".join(preformatted(sample["predicted"]) for sample in samples)
    marked = [sample for sample in samples if sample["right"] is not None]
    right = sum(sample["right"] for sample in marked)
    count = paragraph(f"{right} of {len(marked)} equal a reference.") if marked else ""
    rows = [
        (_MARKS[sample["right"]], sample["input"], sample["predicted"], " | ".join(sample["references"]))
        for sample in samples
    ]
    styles = [_MARKS[sample["right"]][2:] for sample in samples]
    return count + table(("", "input", "output", "reference"), rows, row_styles=styles)


_MARKS = {True: "✓ right", False: "✗ wrong", None: ""}  # a sign and the class of the row


def _pictures(run: RunFiles) -> str:
    """Returns the pictures that the task drew."""
    named = (run.shown or {}).get("pictures", {})
    there = [(caption, run.workdir / name) for name, caption in named.items()]
    lost = [path.name for _, path in there if not path.exists()]
    body = figures((caption, path.read_bytes()) for caption, path in there if path.exists())
    if run.shown is None:
        return _missing("There is no shown.json yet: pictures are drawn at the end of the run.")
    if lost:
        body += _missing(f"Not drawn, or deleted: {', '.join(lost)}.")
    return body if named else paragraph("The task draws none.")


def _curves(run: RunFiles) -> str:
    if not run.curves:
        return _missing("metrics.csv has no rows yet.")
    if run.task is None:
        return _missing("The curves cannot be drawn without the task.")
    task, found = run.task, list[tuple[str, bytes]]()
    for name, title in panels(task, run.curves).items():
        found += drawn(title, _draw_curve, task, name, run.curves[name])
    return figures(found)


def _draw_curve(axis: Any, task: Task, name: str, lines: Any) -> None:
    draw_panel(axis, "", lines)
    draw_limit(axis, task, name)


def _config(run: RunFiles) -> str:
    """Returns the fields that differ from their defaults, then, folded, the others."""
    rows: dict[bool, list[tuple[str, ...]]] = {True: [], False: []}
    for path, field in each_field(run.kind.fields):
        value = run.fields[path]
        rows[value != field.initial].append((path, _text(value), _text(field.initial), field.meaning))
    head = ("field", "value", "default", "meaning")
    others = table(head[:2] + head[3:], [(path, value, meaning) for path, value, _, meaning in rows[False]])
    return table(head, rows[True]) + details(f"{len(rows[False])} fields with their defaults", others)


def _data(run: RunFiles) -> str:
    if run.start is None:
        return _missing("start.json is missing; it is written when training starts.")
    return "".join(map(paragraph, run.start["lines"]))


def _parameters(run: RunFiles) -> str:
    """Returns the table of parameters: name, shape, count, and the total."""
    if run.task is None:
        return _missing("The parameters cannot be listed without the task.")
    (_, params), running = split_model(run.task.sketch), running_statistics(run.task.sketch)
    total = sum(value.size for name, value in params.items() if name not in running)
    rows = [(name, " x ".join(map(str, value.shape)), f"{value.size:,}") for name, value in params.items()]
    body = table(("parameter", "shape", "count"), rows, styles=("", "number", "number"))
    return paragraph(f"{total:,} parameters.") + details(f"{len(rows)} arrays", body)


def _speed(run: RunFiles) -> str:
    """Returns the median speed of the log lines, and the seconds of each compilation."""
    body, name = "", f"{run.kind.unit}_per_second"
    if points := run.curves.get(name, {}).get("train"):
        median = statistics.median(value for _, value in points)
        body = paragraph(f"Median of the log lines: {median:,.0f} {run.kind.unit} per second.")
    rows = [(row["step"], row["shapes"], f"{float(row['seconds']):.1f}") for row in read_compiled(run.workdir)]
    if not rows:
        return body + _missing("compiled.csv has no rows.")
    total = sum(float(row[2]) for row in rows)
    title = f"{total:.0f} s of compiling for {len(rows)} shapes of batches"
    head = ("after step", "shapes of the arrays of a batch", "seconds")
    return body + details(title, table(head, rows, styles=("number", "", "number")))


def _skipped(run: RunFiles) -> str:
    """Returns the steps that the guard skipped, because of a loss or gradient that is not finite, or of a spike."""
    counts = run.curves.get("skipped", {}).get("train", [])
    number = int(sum(value for _, value in counts))
    if not number:
        return paragraph("None: every loss and gradient was finite, and none was a spike.")
    skipped = read_skipped(run.workdir)
    rows = [(s["step"], short(float(s["loss"])), short(float(s["gradient_norm"])), s["examples"]) for s in skipped]
    more = paragraph(f"And {len(rows) - _LISTED:,} more.") if len(rows) > _LISTED else ""
    head = ("step", "loss", "gradient norm", "training examples")
    return paragraph(f"{number:,} steps were skipped.") + table(head, rows[:_LISTED]) + more


def _text(value: Any) -> str:
    """Writes a value of a config or a score."""
    if value is None:
        return "not finite"
    return short(value) if isinstance(value, float) else str(value)


_SECTIONS = {
    "scores": ("Scores", _scores),
    "samples": ("Samples", _samples),
    "pictures": ("Pictures", _pictures),
    "curves": ("Curves", _curves),
    "flow": ("Gradient flow", flow_body),
    "gates": ("Gates", gates_body),
    "config": ("Config", _config),
    "data": ("Data", _data),
    "parameters": ("Parameters", _parameters),
    "speed": ("Speed", _speed),
    "skipped": ("Skipped steps", _skipped),
}
