"""The user's own code, named in a config as `module:NAME`: a module on the path, or a `.py` file.

Imports nothing from rnnlab.
"""

import functools
import hashlib
import importlib
import importlib.util
import pathlib
import re
import sys
from types import ModuleType
from typing import Any

_OWN = re.compile(r"(.+):([A-Za-z_]\w*)((?:/\w+)?)")  # place, name, and the structure of a cell's R


def is_own(name: str) -> bool:
    """Returns whether a name is of the form `module:NAME`, possibly followed by "/heads4" and the like."""
    return _OWN.fullmatch(name) is not None


def _split(name: str) -> tuple[str, str, str]:
    if (found := _OWN.fullmatch(name)) is None:
        raise ValueError(f"{name!r} is not of the form module:NAME or file.py:NAME")
    return found[1], found[2], found[3]


def load_own(name: str) -> Any:
    """Imports the object `module:NAME`; a file is imported again if its contents have changed.

    Raises:
      ValueError: no such module, file or name in it, or its import fails.
    """
    place, attribute, structure = _split(name)
    if structure:
        raise ValueError(f"{name!r}: nothing may follow {attribute}")
    try:
        module = _from_file(pathlib.Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # the module's own code may raise anything
        raise ValueError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from None
    if not hasattr(module, attribute):
        known = [word for word in vars(module) if not word.startswith("_")]
        raise ValueError(f"{name!r}: {place} has no {attribute}; it has {', '.join(known) or 'nothing'}")
    return getattr(module, attribute)


def _from_file(path: pathlib.Path) -> ModuleType:
    path = path.expanduser()
    return _execute(path.absolute(), hashlib.sha256(path.read_bytes()).hexdigest())


@functools.cache
def _execute(path: pathlib.Path, digest: str) -> ModuleType:
    own = f"rnnlab_own_{path.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(own, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018 (of a name that ends in .py there always is one)
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module  # pickle and dataclasses look it up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module


def absolute_own(name: str) -> str:
    """Makes the path of a name absolute, so that it is found from any folder; other names are returned unchanged."""
    if not is_own(name):
        return name
    place, attribute, structure = _split(name)
    path = pathlib.Path(place).expanduser().absolute() if place.endswith(".py") else place
    return f"{path}:{attribute}{structure}"


def name_of_own(name: str) -> str:
    """Returns the NAME of `module:NAME`; other names unchanged."""
    return _split(name)[1] if is_own(name) else name


def file_of_own(name: str) -> pathlib.Path:
    """Returns the file that defines `module:NAME`, without importing it.

    Raises:
      ValueError: no such file.
    """
    place, *_ = _split(name)
    if place.endswith(".py"):
        path = pathlib.Path(place).expanduser()
    else:
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.origin:
            raise ValueError(f"{name!r}: no module {place}")
        path = pathlib.Path(spec.origin)
    if not path.is_file():
        raise ValueError(f"{name!r}: no file {path}")
    return path


def digest_of_own(name: str) -> str:
    """Returns the SHA-256 of the file that defines `module:NAME`.

    Raises:
      ValueError: no such file.
    """
    return hashlib.sha256(file_of_own(name).read_bytes()).hexdigest()
