"""The report: one self-contained HTML page and its Markdown twin, with a figure for each statement."""

import pathlib
from collections.abc import Iterable

from matplotlib.figure import Figure
from ml_collections import ConfigDict

from rnnlab.files import write_text
from rnnlab.flow_lab.results import Row
from rnnlab.flow_lab.scores import HEAD, score_rows
from rnnlab.flow_lab.statements import judge
from rnnlab.flow_lab.table import Table
from rnnlab.flow_lab.verdicts import Check, Finding
from rnnlab.page import image, link, page, paragraph, section, table
from rnnlab.pictures import survived
from rnnlab.training.devices import describe_machine

_TITLE = "Statements of a tutorial on RNNs, measured"
_SIGNS = {True: "yes", False: "no", None: "cannot tell"}
_CHECK_HEAD = ("check", "figure", "so?")
_INCH = (5.2, 4.2)
_SCORES = "Scores of the task, with its floor and published ones"
_ABOUT_SCORES = (
    "A run ends when its loss counts as solved: it is not trained to its best. The floor is the "
    "loss of the best model without memory."
)


def write_report(workdir: pathlib.Path, config: ConfigDict, rows: Iterable[Row]) -> list[pathlib.Path]:
    """Writes `report.html`, `report.md` and the figures of the latter; returns the first two."""
    measured = Table(rows, config)
    findings, scores = judge(measured), score_rows(measured)
    folder = workdir / "figures"
    folder.mkdir(exist_ok=True)
    for finding in findings:
        path = folder / f"{finding.name}.svg"
        path.unlink(missing_ok=True)
        with survived(path):
            _draw(finding, path)
    pages = {
        "report.html": _html(findings, scores, folder, config),
        "report.md": _markdown(findings, scores, config),
    }
    for name, text in pages.items():
        write_text(workdir / name, text)
    return [workdir / name for name in pages]


def _draw(finding: Finding, path: pathlib.Path) -> None:
    figure = Figure(figsize=_INCH, layout="constrained")
    axes = figure.subplots()
    finding.draw(axes)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        figure.legend(fontsize="small", loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Date": None})


def _conditions(config: ConfigDict) -> str:
    return (
        f"{config.seeds} seeds, {config.features} units, batch {config.batch_size}; {describe_machine()}. "
        "A figure is a mean over seeds or a share of cases, with its 95 % interval (Student's t, Wilson). A verdict "
        "follows from the checks below each statement: it holds if all do, does not if none does, under a condition "
        "if some do; a check whose interval contains its bound cannot tell, and is not counted."
    )


def _checks(checks: list[Check]) -> list[tuple[str, str, str]]:
    return [(check.label, check.figure, _SIGNS[check.holds]) for check in checks]


def _html(findings: list[Finding], scores: list[tuple[str, ...]], folder: pathlib.Path, config: ConfigDict) -> str:
    verdicts = [(link(f.statement, f"#{f.name}"), f.summary) for f in findings]
    sections = []
    for f in findings:
        path = folder / f"{f.name}.svg"
        drawn = image(path.read_bytes() if path.exists() else b"", f.statement)
        body = paragraph(f.verdict, style="verdict") + paragraph(f.experiment) + drawn
        sections.append(section(f.statement, body + table(_CHECK_HEAD, _checks(f.checks)), name=f.name))
    if scores:
        sections.append(section(_SCORES, paragraph(_ABOUT_SCORES) + table(HEAD, scores), name="scores"))
    start = paragraph(_conditions(config)) + table(("statement", "verdict"), verdicts, styles=("", "verdict"))
    return page(_TITLE, start + "".join(sections))


def _markdown(findings: list[Finding], scores: list[tuple[str, ...]], config: ConfigDict) -> str:
    lines = [f"# {_TITLE}", "", _conditions(config), ""]
    lines += _markdown_table(("statement", "verdict"), [(f.statement, f.summary) for f in findings])
    for f in findings:
        lines += ["", f"## {f.statement}", "", f"**{f.verdict}**", "", f.experiment, ""]
        lines += [f"![{f.statement}](figures/{f.name}.svg)", ""]
        lines += _markdown_table(_CHECK_HEAD, _checks(f.checks))
    if scores:
        lines += ["", f"## {_SCORES}", "", _ABOUT_SCORES, "", *_markdown_table(HEAD, scores)]
    return "\n".join(lines) + "\n"


def _markdown_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
