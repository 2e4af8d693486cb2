"""A cache of encoded data in the user's cache folder, for all runs and processes: arrays, mapped into memory.

An entry is a folder `KIND-KEY` that is written atomically; a damaged one is made again. The key covers everything that
determines its contents, so no entry is ever out of date, and any may be deleted.
"""

import functools
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnlab.files import one_at_a_time, user_cache

_FORMAT = 1  # of the entries; changes with their contents or the code that makes them
_RECORD = "entry.json"
_LOG = logging.getLogger("rnnlab")


class Entry(NamedTuple):
    """An entry: anything that JSON can represent, and arrays by name."""

    note: Any
    arrays: Mapping[str, np.ndarray] = {}


def remembered(kind: str, key: Any, make: Callable[[], Entry]) -> Entry:
    """Returns the cached entry for a key (anything that JSON can represent), or makes and caches it.

    Of several processes one makes it, and the others wait. A folder that is not writable costs a warning.
    """
    name = hashlib.sha256(json.dumps([_FORMAT, key]).encode()).hexdigest()[:32]
    folder = user_cache("encoded") / f"{kind}-{name}"
    with one_at_a_time(folder.with_suffix(".lock")):
        found = _read(folder)
        if found is None:
            found = make()
            found = _written(folder, found) or found
    return found


def _read(folder: pathlib.Path) -> Entry | None:
    """Returns the entry, its arrays mapped into memory; None if it is missing or damaged."""
    try:
        if not folder.exists():
            return None
        record = json.loads((folder / _RECORD).read_bytes())
        if record["checksum"] != _checksum(record["note"], record["arrays"]):
            raise ValueError("its checksum differs")
        for name, checksum in record["arrays"].items():
            with _array(folder, name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != checksum:
                    raise ValueError(f"the checksum of {name} differs")
        return _mapped(folder, record["note"], record["arrays"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("%s: is damaged, and made again (%s)", folder, error)
        return None


def _mapped(folder: pathlib.Path, note: Any, names: Mapping[str, str]) -> Entry:
    return Entry(note, {name: np.load(_array(folder, name), mmap_mode="r").view(np.ndarray) for name in names})


def _written(folder: pathlib.Path, entry: Entry) -> Entry | None:
    """Writes an entry and maps its arrays; None if it cannot be written."""
    part = folder.with_suffix(".part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir(parents=True)
        arrays = {}
        for name, value in entry.arrays.items():
            np.save(_array(part, name), value)
            with _array(part, name).open("rb") as file:
                arrays[name] = hashlib.file_digest(file, "sha256").hexdigest()
        record = {"note": entry.note, "arrays": arrays, "checksum": _checksum(entry.note, arrays)}
        (part / _RECORD).write_text(json.dumps(record))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        return _mapped(folder, entry.note, arrays)
    except OSError as error:
        _warn_once(folder.parent, error.strerror or str(error))
        return None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _array(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"{name}.npy"


def _checksum(note: Any, arrays: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([note, arrays]).encode()).hexdigest()


@functools.cache
def _warn_once(folder: pathlib.Path, error: str) -> None:
    _LOG.warning("%s: not writable, so every start encodes the data again: %s", folder, error)
