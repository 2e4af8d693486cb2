"""Datasets prepared by TFDS: by one process at a time, and checked at each start, or prepared again."""

import contextlib
import hashlib
import itertools
import json
import logging
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import tensorflow_datasets as tfds

from rnnlab.data.patience import download_impatiently, one_line_where_out_of_reach
from rnnlab.errors import UserError
from rnnlab.files import one_at_a_time, write_text

_CHECKSUMS = "rnnlab_checksums.json"  # beside the prepared files: the SHA-256 of each


def open_prepared(
    field: str, name: str, prepared: str, make: Callable[[str], tfds.core.DatasetBuilder]
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a dataset with complete and intact files.

    Missing files are prepared; damaged ones are logged and prepared again. Processes that start at the same time wait
    for the one that prepares.

    Args:
      field: the config field of the dataset; name: the dataset.
      prepared: folder for TFDS's files; empty is TFDS's own choice, `TFDS_DATA_DIR` or ~/tensorflow_datasets.
      make: makes the builder of the dataset in a folder.

    Raises:
      UserError: the dataset cannot be reached or written, or is damaged and its code is missing; errors of `make`.
    """
    home = pathlib.Path(prepared or tfds.core.constants.DATA_DIR).expanduser()
    with one_line_where_out_of_reach(field, name), tempfile.TemporaryDirectory() as empty:
        try:
            place = pathlib.Path(make(empty).data_dir).relative_to(empty)
        except UserError:  # unknown, or a prepared dataset without its code
            return _only_read(make(str(home)))
        folder = home / place
        with one_at_a_time(home / f"{'.'.join(place.parts)}.lock"):
            if folder.exists() and (fault := _fault(folder, lambda: make(str(home)))):
                _make_room(folder, fault)
            builder = make(str(home))
            download_impatiently(builder)
            try:
                builder.download_and_prepare()
            except OSError:
                if not folder.exists():
                    raise
                builder = make(str(home))  # without locks another process may have been faster
            _seal(pathlib.Path(builder.data_dir))
    return builder


def _make_room(folder: pathlib.Path, fault: str) -> None:
    """Removes a damaged dataset; one without checksums may be another program's, and is renamed instead."""
    if (folder / _CHECKSUMS).exists():
        logging.getLogger("rnnlab").warning("%s: %s; it is prepared again", folder, fault)
        shutil.rmtree(folder)
        return
    names = (folder.with_name(f"{folder.name}.damaged{number}") for number in itertools.count(1))
    aside = next(path for path in names if not path.exists())
    logging.getLogger("rnnlab").warning("%s: %s; moved to %s and prepared again", folder, fault, aside)
    folder.rename(aside)


def _only_read(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    folder = pathlib.Path(builder.data_dir)
    if fault := _fault(folder, lambda: builder):
        raise UserError(f"{folder}: {fault}; it must be prepared again by its own code, which is not available")
    _seal(folder)
    return builder


def _seal(folder: pathlib.Path) -> None:
    """Writes the checksums of a folder to it, unless they exist or the folder is read-only."""
    if not (folder / _CHECKSUMS).exists():
        with contextlib.suppress(OSError):
            write_text(folder / _CHECKSUMS, json.dumps(_checksums(folder), indent=1))


def _checksums(folder: pathlib.Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stem != pathlib.PurePath(_CHECKSUMS).stem:
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _fault(folder: pathlib.Path, make: Callable[[], tfds.core.DatasetBuilder]) -> str:
    """Returns what is wrong with a folder; empty if its checksums agree, or, without checksums, if it can be read."""
    if not (folder / _CHECKSUMS).exists():
        return _unreadable(make)
    try:
        wanted, found = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8")), _checksums(folder)
        faulty = [name for name, checksum in wanted.items() if found.get(name) != checksum]
    except (OSError, ValueError, AttributeError):
        return f"{_CHECKSUMS} is damaged"
    return f"{faulty[0]} is {'damaged' if faulty[0] in found else 'missing'}" if faulty else ""


def _unreadable(make: Callable[[], tfds.core.DatasetBuilder]) -> str:
    try:
        builder = make()
        for split in builder.info.splits:
            source = builder.as_data_source(split)
            rows = source.__getitems__(list(range(len(source))))
            if any(value is None for row in rows for value in row.values()):  # as array_record reads truncated data
                raise ValueError(f"an example of its {split} split is empty")
        return "" if builder.info.splits else "it has no split"
    except Exception as error:  # tfds, array_record, protobuf and json each raise their own for a damaged file
        return f"it cannot be read ({(str(error).strip() or type(error).__name__).splitlines()[0][:200]})"
