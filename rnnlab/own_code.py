"""The user's own code that a config names: its files recorded in a work directory by their digests, and checked.

Imports `config`, `errors`, `files` and `own` only.
"""

import json
import pathlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from rnnlab.config import Field, Fields, each_field, get_field, set_field
from rnnlab.errors import UserError
from rnnlab.files import undamaged, write_text
from rnnlab.own import absolute_own, digest_of_own, file_of_own, is_own

_FILE = "own_code.json"  # the digest of the file of each thing of the user's own


def own_names(fields: Fields, config: ConfigDict) -> list[tuple[str, str]]:
    """Lists what a config names of the user's own, with the paths of the fields."""
    named = ((path, name) for path, field in _own_fields(fields) for name in field.names(get_field(config, path)))
    return [(path, name) for path, name in named if is_own(name)]


def _own_fields(fields: Fields) -> list[tuple[str, Field]]:
    return [(path, field) for path, field in each_field(fields) if field.own]


def resolve_own(fields: Fields, config: ConfigDict) -> None:
    """Makes the paths of the user's own files absolute, in place.

    Raises:
      UserError: a path that the field would divide.
    """
    for path, field in _own_fields(fields):
        names = field.names(get_field(config, path))
        if any(map(is_own, names)):
            absolute = ",".join(map(absolute_own, names))
            if len(field.names(absolute)) != len(names):
                raise UserError(
                    f"config.{path}: {absolute!r} is a path that this list divides at a comma or blank; move the file, "
                    "or name its code as module:NAME"
                )
            set_field(config, path, absolute)


def own_digests(fields: Fields, config: ConfigDict) -> dict[str, str]:
    """Returns the digest of the file of each thing of the user's own that a config names.

    Raises:
      UserError: one has no file.
    """
    found = {}
    for path, name in own_names(fields, config):
        try:
            found[name] = digest_of_own(name)
        except ValueError as error:
            raise UserError(f"config.{path}: {error}") from None
    return found


def write_digests(workdir: pathlib.Path, digests: Mapping[str, str]) -> None:
    """Records digests in a work directory; where there are none and none were, it is left as it is."""
    if digests or (workdir / _FILE).exists():
        write_text(workdir / _FILE, json.dumps(digests, indent=2))


def read_digests(workdir: pathlib.Path) -> dict[str, str]:
    """Reads what a work directory has recorded.

    Raises:
      UserError: the record is damaged.
    """
    path = workdir / _FILE
    with undamaged(path):
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def check_own(workdir: pathlib.Path, name: str) -> None:
    """Makes sure, before it is imported, that a thing of the user's own is what a run was made with.

    Whatever a work directory names is checked, not only what it has recorded, for it may come from elsewhere.

    Raises:
      UserError: its file is gone, has changed, was not recorded, or lies in the work directory.
    """
    recorded = read_digests(workdir)
    try:
        path = file_of_own(name)
        if path.resolve().is_relative_to(workdir.resolve()):
            raise ValueError(f"{name!r} lies in the work directory, whose code is never run; move it elsewhere")
        if name not in recorded:
            raise ValueError(f"{name!r} has no hash in {_FILE}, so that its code is not run")
        if digest_of_own(name) != recorded[name]:
            raise ValueError(f"{path} has changed since the run was made; give it back, or use another --workdir")
    except ValueError as error:
        raise UserError(f"{workdir}: {error}") from None
