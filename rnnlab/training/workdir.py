"""A work directory: the config of a run and what its task keeps there, made once and opened again."""

import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from rnnlab.config import each_field, field_paths, get_field, make_config, set_field
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.own import absolute_own, digest_of_own, file_of_own, is_own
from rnnlab.tasks import find_task
from rnnlab.tasks.base import Task
from rnnlab.training.config import check_intervals

_OWN = "own_code.json"  # digest of the file of each thing of the user's own


def create_task(config: ConfigDict, workdir: pathlib.Path) -> Task:
    """Makes the work directory of a run, or resumes in one that was made by the same config.

    Everything that can be wrong is checked before anything is written; the config, in which paths become absolute, is
    written last.

    Raises:
      UserError: a config that no run can use, one that differs from the saved one in what cannot change, or data with
        other contents than the run was made with.
    """
    kind = find_task(config.experiment)
    kind.check(config)
    check_intervals(config.training)
    resolve_paths(kind, config)
    if not (workdir / "config.json").exists():
        task = kind.create(config, workdir)
        task.open_data()
        workdir.mkdir(parents=True, exist_ok=True)
        task.save()
        _write_own(kind, config, workdir)
        _write_config(config, workdir)
        return task
    saved = read_config(workdir)
    check_same_run(saved, config, workdir, fixed=("experiment", *kind.fixed), places=kind.places)
    task = kind.load(config, config, workdir)  # wherever its data lie now, they must be those that it was made with
    task.open_data()
    task.save()
    if config.to_dict() != saved.to_dict():
        _write_config(config, workdir)
    return task


def open_task(workdir: pathlib.Path, config: ConfigDict | None = None) -> Task:
    """Opens a work directory for use.

    Args:
      workdir: what `create_task` made.
      config: holds instead of the saved one, if it describes the same model; a split that it takes from elsewhere may
        hold anything.

    Raises:
      UserError: it is not one, a file of it is damaged, or the config describes another model.
    """
    saved = read_config(workdir)
    kind = find_task(saved.experiment)
    if config is None:
        return kind.load(saved, saved, workdir)
    kind.check(config)
    resolve_paths(kind, config)
    check_same_run(saved, config, workdir, fixed=("experiment", *kind.fixed_in_use), places=kind.places)
    return kind.load(config, saved, workdir)


def read_config(workdir: pathlib.Path) -> ConfigDict:
    """Reads the config that a work directory was made by.

    Raises:
      UserError: there is none, it is damaged, or it names code that is not what the run was made with.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise UserError(f"{workdir}: not a work directory (it holds no config.json); train first, with --config")
    saved = read_json(path)
    try:
        experiment = str(saved["experiment"])
        if is_own(experiment):
            _check_own(workdir, experiment)
        kind = find_task(experiment)
        config = make_config(kind.fields)
        config.update(saved)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: is damaged: {error}") from None
    for name in _own_names(kind, config).values():
        _check_own(workdir, name)
    return config


def read_json(path: pathlib.Path) -> Any:
    """Reads a file of a work directory.

    Raises:
      UserError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent}: {path.name} is missing; an older version of rnnlab wrote none") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is damaged: {error}") from None


def resolve_paths(kind: type[Task], config: ConfigDict) -> None:
    """Makes paths absolute, in place: those of the task, and of files of the user's own code."""
    kind.resolve_paths(config)
    if config.training.init_from:
        config.training.init_from = str(pathlib.Path(config.training.init_from).expanduser().absolute())
    for path, name in _own_names(kind, config).items():
        set_field(config, path, absolute_own(name))


def _own_names(kind: type[Task], config: ConfigDict) -> dict[str, str]:
    """What the config names of the user's own, by field."""
    values = {path: get_field(config, path) for path, field in each_field(kind.fields) if field.own}
    return {path: value for path, value in values.items() if is_own(value)}


def _write_own(kind: type[Task], config: ConfigDict, workdir: pathlib.Path) -> None:
    """Records the digest of each file of the user's own code that the config names."""
    found = {name: digest_of_own(name) for name in _own_names(kind, config).values()}
    if found:
        write_text(workdir / _OWN, json.dumps(found, indent=2))


def _check_own(workdir: pathlib.Path, name: str) -> None:
    """Makes sure, before it is imported, that a thing of the user's own is what the run was made with.

    Whatever a work directory names is checked, not only what it has recorded, for it may come from elsewhere.

    Raises:
      UserError: its file is gone, has changed, was not recorded, or lies in the work directory.
    """
    recorded = read_json(workdir / _OWN) if (workdir / _OWN).exists() else {}
    try:
        path = file_of_own(name)
        if path.resolve().is_relative_to(workdir.resolve()):
            raise ValueError(f"{name!r} lies in the work directory, whose code is never run; move it elsewhere")
        if name not in recorded:
            raise ValueError(f"{name!r} has no hash in {_OWN}, so that its code is not run")
        if digest_of_own(name) != recorded[name]:
            raise ValueError(f"{path} has changed since the run was made; give it back, or use another --workdir")
    except ValueError as error:
        raise UserError(f"{workdir}: {error}") from None


def _write_config(config: ConfigDict, workdir: pathlib.Path) -> None:
    write_text(workdir / "config.json", config.to_json_best_effort(indent=2))


def check_same_run(
    saved: ConfigDict, config: ConfigDict, workdir: pathlib.Path, *, fixed: Sequence[str], places: Sequence[str] = ()
) -> None:
    """Refuses a config that differs from the saved one in the fields `fixed`, or in those within them but `places`.

    Other differences (steps, evaluation) are logged, and hold from now on.

    Raises:
      UserError: names the first field that differs, and both values.
    """
    changed = []
    for path in field_paths(config):
        old, new = get_field(saved, path), get_field(config, path)
        if isinstance(new, ConfigDict) or old == new:
            continue
        if _is_in(path, fixed) and not _is_in(path, places):
            raise UserError(
                f"config.{path}: {workdir} was made with {old!r}, not {new!r}; "
                f"{', '.join(fixed)} cannot change within a run: use another --workdir"
            )
        changed.append((path, old, new))
    for each in changed:
        logging.getLogger("rnnlab").info("config.%s: was %r, is %r from now on", *each)


def _is_in(path: str, fields: Sequence[str]) -> bool:
    return any(f"{path}.".startswith(f"{field}.") for field in fields)
