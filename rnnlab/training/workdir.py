"""A work directory: the config of a run and the files of its task, created once and opened again."""

import contextlib
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from rnnlab.config import field_paths, get_field, make_config
from rnnlab.errors import UserError
from rnnlab.files import undamaged, write_text
from rnnlab.own import is_own
from rnnlab.own_code import check_own, own_digests, own_names, resolve_own, write_digests
from rnnlab.tasks import find_task
from rnnlab.tasks.base import Task
from rnnlab.training.config import check_intervals
from rnnlab.training.tracking import find_tracker


def create_task(config: ConfigDict, workdir: pathlib.Path) -> Task:
    """Creates the work directory of a run, or resumes in one created with the same config.

    Everything is checked before anything is written; the config, in which paths become absolute, is written last.

    Raises:
      UserError: an invalid config, one that differs from the saved one in a field that cannot change, or data that have
        changed since the start of the run.
    """
    kind = find_task(config.experiment).variant(config)
    kind.check(config)
    check_intervals(config.training)
    find_tracker(config.training.tracker)
    resolve_paths(kind, config)
    own = own_digests(kind.fields, config)
    if not (workdir / "config.json").exists():
        task = kind.create(config, workdir)
        task.open_data()
        workdir.mkdir(parents=True, exist_ok=True)
        task.save()
        _write_config(config, own, workdir)
        return task
    saved = read_config(workdir)
    check_same_run(saved, config, workdir, fixed=("experiment", *kind.fixed), places=kind.places)
    task = kind.load(config, config, workdir)  # its data may have moved, but must be the same
    task.open_data()
    task.save()
    if config.to_dict() != saved.to_dict():
        _write_config(config, own, workdir)
    return task


def open_task(workdir: pathlib.Path, config: ConfigDict | None = None) -> Task:
    """Opens a work directory for use.

    Args:
      workdir: made by `create_task`.
      config: replaces the saved one, if it describes the same model; a split from other files may have any contents.

    Raises:
      UserError: not a work directory, a file of it is damaged, or the config describes another model.
    """
    saved = read_config(workdir)
    kind = find_task(saved.experiment).variant(saved)
    if config is None:
        return kind.load(saved, saved, workdir)
    kind.check(config)
    resolve_paths(kind, config)
    check_same_run(saved, config, workdir, fixed=("experiment", *kind.fixed_in_use), places=kind.places)
    return kind.load(config, saved, workdir)


def read_config(workdir: pathlib.Path) -> ConfigDict:
    """Reads the config of a work directory.

    Raises:
      UserError: no config, a damaged one, or it names code that has changed since the start of the run.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise UserError(f"{workdir}: not a work directory (no config.json); train first, with --config")
    with reading_json(path) as saved:
        experiment = str(saved["experiment"])
        if is_own(experiment):
            check_own(workdir, experiment)
        kind = find_task(experiment)
        config = make_config(kind.fields)
        config.update(saved)
    for _, name in own_names(kind.fields, config):
        check_own(workdir, name)
    return config


@contextlib.contextmanager
def reading_json(path: pathlib.Path) -> Iterator[Any]:
    """Reads a file of a work directory, for a block that parses its contents.

    Raises:
      UserError: the file is missing or damaged, or the block fails on its contents.
    """
    if not path.exists():
        raise UserError(f"{path.parent}: {path.name} is missing; older versions of rnnlab did not write it")
    with undamaged(path):
        yield json.loads(path.read_text(encoding="utf-8"))


def resolve_paths(kind: type[Task], config: ConfigDict) -> None:
    """Makes paths absolute, in place: those of the task, and of the user's own code.

    Raises:
      UserError: as for the task, or a list of the config would split a path of code.
    """
    kind.resolve_paths(config)
    if config.training.init_from:
        config.training.init_from = str(pathlib.Path(config.training.init_from).expanduser().absolute())
    resolve_own(kind.fields, config)


def _write_config(config: ConfigDict, own: Mapping[str, str], workdir: pathlib.Path) -> None:
    """Writes the digests of the user's own code, then the config that names it."""
    write_digests(workdir, own)
    write_text(workdir / "config.json", config.to_json_best_effort(indent=2))


def check_same_run(
    saved: ConfigDict, config: ConfigDict, workdir: pathlib.Path, *, fixed: Sequence[str], places: Sequence[str] = ()
) -> None:
    """Refuses a config that differs from the saved one in the fields `fixed` (and those within them) except `places`.

    Other differences (steps, evaluation) are logged, and apply from now on.

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
