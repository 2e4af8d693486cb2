"""The user's own code in a config: records the digests of its files in a work directory, and checks them.

Imports only `config`, `errors`, `files` and `own`.
"""

import json
import pathlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from rnnlab.config import Field, Fields, each_field, get_field, set_field
from rnnlab.errors import UserError
from rnnlab.files import undamaged, write_text
from rnnlab.own import absolute_own, digest_of_own, file_of_own, is_own

_FILE = "own_code.json"  # the digest of each file of the user's own code


def own_names(fields: Fields, config: ConfigDict) -> list[tuple[str, str]]:
    """Lists the user's own code in a config, with the paths of its fields."""
    named = ((path, name) for path, field in _own_fields(fields) for name in field.names(get_field(config, path)))
    return [(path, name) for path, name in named if is_own(name)]


def _own_fields(fields: Fields) -> list[tuple[str, Field]]:
    return [(path, field) for path, field in each_field(fields) if field.own]


def resolve_own(fields: Fields, config: ConfigDict) -> None:
    """Makes the paths of the user's own code absolute, in place.

    Raises:
      UserError: the field would split the path.
    """
    for path, field in _own_fields(fields):
        names = field.names(get_field(config, path))
        if any(map(is_own, names)):
            absolute = ",".join(map(absolute_own, names))
            if len(field.names(absolute)) != len(names):
                raise UserError(
                    f"config.{path}: {absolute!r} has a comma or blank, at which this list is split; move the file, "
                    "or name its code as module:NAME"
                )
            set_field(config, path, absolute)


def own_digests(fields: Fields, config: ConfigDict) -> dict[str, str]:
    """Returns the digest of each file of the user's own code in a config.

    Raises:
      UserError: a file is missing.
    """
    found = {}
    for path, name in own_names(fields, config):
        try:
            found[name] = digest_of_own(name)
        except ValueError as error:
            raise UserError(f"config.{path}: {error}") from None
    return found


def write_digests(workdir: pathlib.Path, digests: Mapping[str, str]) -> None:
    """Records digests in a work directory; writes nothing if there are none and none were recorded."""
    if digests or (workdir / _FILE).exists():
        write_text(workdir / _FILE, json.dumps(digests, indent=2))


def read_digests(workdir: pathlib.Path) -> dict[str, str]:
    """Reads the digests recorded in a work directory.

    Raises:
      UserError: the record is damaged.
    """
    path = workdir / _FILE
    with undamaged(path):
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def check_own(workdir: pathlib.Path, name: str) -> None:
    """Checks, before its import, that the user's own code has not changed since the start of the run.

    All code named in a work directory is checked, not only recorded code: the directory may come from elsewhere.

    Raises:
      UserError: its file is gone, has changed, was not recorded, or lies in the work directory.
    """
    recorded = read_digests(workdir)
    try:
        path = file_of_own(name)
        if path.resolve().is_relative_to(workdir.resolve()):
            raise ValueError(f"{name!r} is in the work directory, where no code is run; move it elsewhere")
        if name not in recorded:
            raise ValueError(f"{name!r} has no hash in {_FILE}, so its code is not run")
        if digest_of_own(name) != recorded[name]:
            raise ValueError(f"{path} has changed since the run was started; restore it, or use another --workdir")
    except ValueError as error:
        raise UserError(f"{workdir}: {error}") from None
