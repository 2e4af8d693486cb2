"""Writes the folder of an exported model, completely or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import jax
import numpy as np

from rnnlab.errors import UserError
from rnnlab.export.card import make_card
from rnnlab.export.programs import lower, signature
from rnnlab.extras import needs
from rnnlab.files import write_text
from rnnlab.tasks.base import ModelParams, Task


def check_out(out: pathlib.Path) -> None:
    """Refuses a folder for an exported model that has contents.

    Raises:
      UserError: it is a file, or not empty.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; give a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out: {out} is not empty; give a new folder")


def export_model(task: Task, params: ModelParams, out: pathlib.Path) -> None:
    """Exports a model with the options of its config.

    The parameters are arguments of every program, so that they exist once, in `model.safetensors`, and can be replaced
    without another export.

    Args:
      task: of the run.
      params: of its model.
      out: a new or empty folder.

    Raises:
      UserError: the folder has contents, the task or an operation of the model cannot be exported, or a package of the
        extra `export` is missing.
    """
    check_out(out)
    with needs("export", "--mode=export"):
        import flatbuffers
        from safetensors.numpy import save
    exports, signatures = task.exports(), {}
    with _new(out.resolve()) as folder:
        for name, program in exports.programs.items():
            lowered = lower(name, program, params)
            (folder / f"{name}.stablehlo").write_bytes(lowered.serialize())
            signatures[name] = signature(lowered, program)
        arrays = {name: np.ascontiguousarray(value) for name, value in jax.device_get(params).items()}
        (folder / "model.safetensors").write_bytes(save(arrays))
        for name, content in exports.files.items():
            write_text(folder / name, json.dumps(content, ensure_ascii=False))
        write_text(folder / "config.json", task.config.to_json_best_effort(indent=2))
        write_text(folder / "README.md", make_card(task, exports, signatures, params))
        _copy_code(exports.runner, flatbuffers.__file__, folder)


def _copy_code(runner: pathlib.Path, flatbuffers: str, folder: pathlib.Path) -> None:
    """Copies the runner, and the package that jax needs to read programs, but does not install."""
    shutil.copyfile(runner, folder / "run.py")
    shutil.copyfile(pathlib.Path(__file__).with_name("exported.py"), folder / "exported.py")
    package = pathlib.Path(flatbuffers).parent
    shutil.copytree(package, folder / "flatbuffers", ignore=shutil.ignore_patterns("__pycache__"))


@contextlib.contextmanager
def _new(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes a folder beside `out`, which takes its place at the end."""
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
