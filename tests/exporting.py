"""Exported models, used as their recipients do."""

import contextlib
import io
import pathlib
import runpy
import sys
from unittest import mock

import jaxtyping

from rnnlab.export.folder import export_model
from rnnlab.tasks.base import ModelParams, Task


def export(task: Task, params: ModelParams, out: pathlib.Path) -> pathlib.Path:
    """Exports a model, and returns its folder."""
    with symbolic_sizes():
        export_model(task, params, out)
    return out


def symbolic_sizes():
    """Allows sizes that are not integers, which jaxtyping refuses."""
    return mock.patch.object(jaxtyping.config, "jaxtyping_disable", True)


@contextlib.contextmanager
def beside(folder: pathlib.Path):
    """Within the folder of an exported model, whose modules can be imported."""
    with mock.patch.object(sys, "path", [str(folder), *sys.path]), mock.patch.dict(sys.modules):
        yield


def run(folder: pathlib.Path, lines: bytes, *arguments: str) -> list[str]:
    """Returns the lines that `run.py` writes."""
    stdin, stdout = (io.TextIOWrapper(io.BytesIO(content), encoding="utf-8") for content in (lines, b""))
    with beside(folder), mock.patch.multiple(sys, stdin=stdin, stdout=stdout, argv=["run.py", *arguments]):
        runpy.run_path(str(folder / "run.py"), run_name="__main__")
        stdout.flush()
    return stdout.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
