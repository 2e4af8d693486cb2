"""Pages of the site that are made from the README, from the code and from the notebooks, which are executed for it."""

import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jupytext
import mkdocs_gen_files
import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

from rnnlab.command import LABS
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
_SECONDS, _AT_ONCE = 300, 2  # for one cell of a notebook; notebooks


def _home() -> Iterator[str]:
    """The README, whose links point into the folder of the pages, and to the executed notebooks."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    yield re.sub(r"\]\((notebooks/\w+)\.py\)", r"](\1.md)", readme.replace("](docs/", "]("))


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
            cells = (f"`{path}`", f"`{field.initial!r}`", field.meaning, rules)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""


_PAGES = {"index.md": _home, "reference/api.md": _api, "reference/fields.md": _fields}
for name, lines in _PAGES.items():
    with mkdocs_gen_files.open(name, "w") as file:
        file.write("\n".join(lines()))


def _execute(path: pathlib.Path) -> nbformat.NotebookNode:
    """Executes a notebook in an empty folder; an error in it ends the build."""
    notebook = jupytext.read(path)
    places = [_ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, places))}
    environment["PYTHONWARNINGS"] = "ignore:IProgress"  # tqdm's, in a notebook without widgets
    how: dict = {"timeout": _SECONDS, "kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
    how["coalesce_streams"] = True  # what a cell prints is one block
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, resources={"metadata": {"path": folder}}, **how).execute(env=environment)
    return notebook


def _write(notebook: nbformat.NotebookNode, name: str) -> None:
    """Writes a notebook as a page, with its pictures."""
    names = {"unique_key": name, "output_files_dir": "."}
    page, resources = MarkdownExporter().from_notebook_node(notebook, names)
    with mkdocs_gen_files.open(f"notebooks/{name}.md", "w") as file:
        file.write(page.replace("![png](", "![What the code above draws]("))
    for picture, data in resources["outputs"].items():
        with mkdocs_gen_files.open(f"notebooks/{picture}", "wb") as file:
            file.write(data)


notebooks = sorted((_ROOT / "notebooks").glob("*.py"))
with ThreadPoolExecutor(_AT_ONCE) as pool:
    for path, executed in zip(notebooks, pool.map(_execute, notebooks), strict=True):
        _write(executed, path.stem)
