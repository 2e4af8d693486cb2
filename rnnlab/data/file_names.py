"""File names in a config. Imports only `errors`."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from ml_collections import ConfigDict

from rnnlab.errors import UserError

Files = str | Sequence[str]  # names separated by commas, or a list of them


def absolute(path: str) -> pathlib.Path:
    """Makes `path` absolute; links are not resolved."""
    return pathlib.Path(path).expanduser().absolute()


def list_names(files: Files, directory: str = "") -> list[str]:
    """Lists the absolute names of the files of a split; an empty text gives an empty list.

    Args:
      files: names separated by commas, or a list of them. If names contain commas, a text is split so that all files
        exist.
      directory: the folder of names that are not absolute; empty is the current folder.

    Raises:
      UserError: an empty name, or more than one way to split a text.
    """
    home = absolute(directory or ".")

    def place(name: str) -> pathlib.Path:
        return home / pathlib.Path(name.strip()).expanduser()

    if isinstance(files, str):
        parts = files.split(",") if files.strip() else []
        there = list(islice(_cuts(parts, lambda name: _is_file(place(name))), 2)) if len(parts) > 1 else []
        if len(there) > 1:
            raise UserError(f"files {files!r}: may be split in several ways; give a list of names")
        names = there[0] if there else parts
    else:
        names = list(map(str, files))
    if not all(name.strip() for name in names):
        raise UserError(f"files {files!r}: an empty name; give names separated by commas, or a list of them")
    return [str(place(name)) for name in names]


def resolve_files(data: ConfigDict) -> None:
    """Makes the names of `data.directory` and `data.files` absolute, in place: they are then the same from any folder.

    Raises:
      UserError: as `list_names`.
    """
    data.directory = str(absolute(data.directory)) if data.directory else ""
    for split, files in data.files.items():
        names = list_names(files, data.directory)
        data.files[split] = names if any("," in name for name in names) else ",".join(names)


def _cuts(parts: Sequence[str], is_name: Callable[[str], bool]) -> Iterator[list[str]]:
    """Yields each way to join neighbours by commas so that every name exists."""
    if not parts:
        yield []
    for end in range(1, len(parts) + 1):
        if is_name(first := ",".join(parts[:end])):
            yield from ([first, *rest] for rest in _cuts(parts[end:], is_name))


def _is_file(path: pathlib.Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        return False
