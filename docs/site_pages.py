"""Pages of the site that are made from the README and from the code: the home page, the API, the fields of configs."""

import pathlib
from collections.abc import Iterator

import mkdocs_gen_files

from rnnlab.app import LABS
from rnnlab.config import each_field
from rnnlab.own import load_own
from rnnlab.tasks import TASKS, find_task

_API = {
    "Cells": "rnnlab.cells",
    "Scans": "rnnlab.scans",
    "Models": "rnnlab.models",
    "Weights in and out": "rnnlab.models.weights",
    "Gradient flow": "rnnlab.gradient_flow",
    "Search": "rnnlab.search",
    "Conformance of a cell": "rnnlab.testing",
    "Runs": "rnnlab.run",
    "A task of your own": "rnnlab.tasks.base",
}


def _home() -> Iterator[str]:
    """The README, whose links point into the folder of the pages."""
    readme = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    yield readme.replace("](docs/", "](")


def _api() -> Iterator[str]:
    yield "# Public API\n"
    for title, module in _API.items():
        yield f"## {title}\n\n::: {module}\n"


def _fields() -> Iterator[str]:
    yield "# Fields of the configs\n"
    yield "`--config.PATH=VALUE` overrides a field; `--mode=config` prints those of a config with its own values.\n"
    tasks = {name: find_task(name).fields for name in TASKS}
    labs = {name: load_own(fields) for name, fields in LABS.items()}
    for experiment, fields in (tasks | labs).items():
        yield f"## {experiment}\n"
        yield "| field | default | meaning | allowed |\n|---|---|---|---|"
        for path, field in each_field(fields):
            rules = "; ".join(rule.text for rule in field.allowed)
            cells = (f"`{path}`", f"`{field.default!r}`", field.meaning, rules)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""


_PAGES = {"index.md": _home, "reference/api.md": _api, "reference/fields.md": _fields}
for name, lines in _PAGES.items():
    with mkdocs_gen_files.open(name, "w") as file:
        file.write("\n".join(lines()))
