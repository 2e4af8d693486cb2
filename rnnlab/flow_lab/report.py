"""The report: one self-contained HTML page and its Markdown twin, with a figure for each statement."""

import base64
import datetime
import html
import pathlib
import platform
from collections.abc import Iterable

import jax
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from rnnlab.files import write_text
from rnnlab.flow_lab.results import Row
from rnnlab.flow_lab.scores import HEAD, score_rows
from rnnlab.flow_lab.statements import judge
from rnnlab.flow_lab.table import Table
from rnnlab.flow_lab.verdicts import Check, Finding
from rnnlab.pictures import survived

_TITLE = "Statements of a tutorial on RNNs, measured"
_SIGNS = {True: "yes", False: "no", None: "cannot tell"}
_CHECK_HEAD = ("check", "figure", "so?")
_INCH = (5.2, 4.2)
_SCORES = "Scores of the task, with its floor and published ones"
_ABOUT_SCORES = (
    "A run ends when its loss counts as solved: it is not trained to its best. The floor is the "
    "loss of the best model without memory."
)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem; color: #1b1b1b; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
img { width: 100%; height: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
.verdict { font-weight: 600; white-space: nowrap; }
@media (max-width: 40rem) { .verdict { white-space: normal; } th, td { padding: .3rem .3rem; } }
"""


def write_report(workdir: pathlib.Path, config: ConfigDict, rows: Iterable[Row]) -> list[pathlib.Path]:
    """Writes `report.html`, `report.md` and the figures of the latter; returns the first two."""
    table = Table(rows, config)
    findings, scores = judge(table), score_rows(table)
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
        f"{config.seeds} seeds, {config.features} units, batch {config.batch_size}; jax {jax.__version__} on "
        f"{jax.devices()[0].device_kind}, Python {platform.python_version()}, {datetime.date.today().isoformat()}. "
        "A figure is a mean over seeds or a share of cases, with its 95 % interval (Student's t, Wilson). A verdict "
        "follows from the checks below each statement: it holds if all do, does not if none does, under a condition "
        "if some do; a check whose interval contains its bound cannot tell, and is not counted."
    )


def _checks(checks: list[Check]) -> list[tuple[str, str, str]]:
    return [(check.label, check.figure, _SIGNS[check.holds]) for check in checks]


def _html(findings: list[Finding], scores: list[tuple[str, ...]], folder: pathlib.Path, config: ConfigDict) -> str:
    say = html.escape
    verdicts = [(f'<a href="#{f.name}">{say(f.statement)}</a>', f.summary) for f in findings]
    sections = []
    for f in findings:
        picture = folder / f"{f.name}.svg"
        drawn = base64.b64encode(picture.read_bytes()).decode() if picture.exists() else ""
        rows = "".join(_html_row("td", row) for row in _checks(f.checks))
        sections.append(
            f'<section id="{f.name}"><h2>{say(f.statement)}</h2><p class="verdict">{f.verdict}</p>'
            f'<p>{say(f.experiment)}</p><img alt="{say(f.statement)}" src="data:image/svg+xml;base64,{drawn}">'
            f'<div class="wide"><table>{_html_row("th", _CHECK_HEAD)}{rows}</table></div></section>'
        )
    if scores:
        sections.append(
            f'<section id="scores"><h2>{_SCORES}</h2><p>{_ABOUT_SCORES}</p><div class="wide"><table>'
            f"{_html_row('th', HEAD)}{''.join(_html_row('td', row) for row in scores)}</table></div></section>"
        )
    table = "".join(f'<tr><td>{link}</td><td class="verdict">{verdict}</td></tr>' for link, verdict in verdicts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{_TITLE}</title><style>{_STYLE}</style></head><body><h1>{_TITLE}</h1><p>{say(_conditions(config))}</p>"
        f"<table><tr><th>statement</th><th>verdict</th></tr>{table}</table>{''.join(sections)}</body></html>\n"
    )


def _html_row(kind: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{html.escape(cell)}</{kind}>' for cell in cells)}</tr>"


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
