"""Pages of the site that are made from the README, from the code and from the notebooks, which are executed for it."""

import os
import pathlib
import tempfile
from collections.abc import Iterator

import jupytext
import mkdocs_gen_files
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

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


_ROOT = pathlib.Path(__file__).parents[1]
_SECONDS = 300  # for one cell of a notebook


def _home() -> Iterator[str]:
    """The README, whose links point into the folder of the pages."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
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


def _write_notebook(path: pathlib.Path) -> None:
    """Executes a notebook in an empty folder, and writes it with its outputs; an error in it ends the build."""
    notebook = jupytext.read(path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=_SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment)
    page, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": path.stem, "output_files_dir": "."}
    )
    with mkdocs_gen_files.open(f"notebooks/{path.stem}.md", "w") as file:
        file.write(page)
    for name, data in resources["outputs"].items():
        with mkdocs_gen_files.open(f"notebooks/{name}", "wb") as file:
            file.write(data)


for path in sorted((_ROOT / "notebooks").glob("*.py")):
    _write_notebook(path)
