"""Files that grow while a run goes on. A full disk costs a word and time, not what was to be written."""

import csv
import io
import logging
import pathlib
import struct
import time
from collections.abc import Iterable
from typing import BinaryIO

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from rnnlab.files import write_bytes
from rnnlab.printing import to_csv


class GrowingFile:
    """Bytes appended one after the other. What cannot be written is kept, and written with what comes next.

    Args:
      path: what it holds already stays.
      start: what it is to hold instead: it does as soon as all of this could be written, and until then what it held.
    """

    def __init__(self, path: pathlib.Path, start: bytes | None = None):
        self._path, self._held, self._warned = path, start or b"", False
        self._replaces = start is not None
        self._file: BinaryIO | None = None
        self.append(b"")

    def _open(self) -> BinaryIO:
        if self._replaces:
            write_bytes(self._path, self._held)
            self._replaces, self._held = False, b""
        return self._path.open("ab", buffering=0)

    def append(self, data: bytes) -> None:
        """Adds `data` to what is written, or, with a warning the first time, to what is kept until it can be."""
        self._held += data
        try:
            if self._file is None:
                self._file = self._open()
            while self._held:
                self._held = self._held[self._file.write(self._held) :]
            self._warned = False
        except OSError as error:
            if not self._warned:
                text = "%s cannot be written (%s); what was to stand there is kept until it can; training goes on"
                logging.getLogger("rnnlab").warning(text, self._path, error.strerror)
            self._warned = True

    def close(self) -> None:
        """Tries once more to write what is kept."""
        self.append(b"")
        if self._file is not None:
            self._file.close()


class Rows:
    """A CSV that grows; opened, it keeps the rows up to step `start`."""

    def __init__(self, path: pathlib.Path, fields: tuple[str, ...], start: int):
        kept = [row for row in read_rows(path, fields) if int(row["step"]) <= start]
        self._file = GrowingFile(path, _lines([fields, *(tuple(row[field] for field in fields) for row in kept)]))

    def write(self, rows: Iterable[tuple]) -> None:
        """Adds rows, each written whole before this returns, or kept."""
        self._file.append(_lines(rows))

    def close(self) -> None:
        """Writes what is kept."""
        self._file.close()


def _lines(rows: Iterable[tuple]) -> bytes:
    return to_csv(rows, end="\r\n").encode()


def read_rows(path: pathlib.Path, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """The whole rows of a file that `Rows` wrote, those of a number of steps; none if there is no such file."""
    if not path.exists():
        return []
    whole, ends, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    rows = csv.DictReader(io.StringIO(whole + ends, newline=""))
    return [row for row in rows if all(row.get(field) for field in fields) and row["step"].isdecimal()]


class Events:
    """TensorBoard's events, written when they are told of (tensorboardX's own writer ends with the first full disk).

    Args:
      folder: made if it is not there; the file in it is a new one.
      start: TensorBoard forgets what earlier files of the folder hold from this step on.
    """

    def __init__(self, folder: pathlib.Path, start: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = GrowingFile(folder / f"events.out.tfevents.{time.time_ns()}")
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def add(self, summary: Summary, step: int) -> None:
        """Adds a summary, as `tensorboardX.summary` makes it."""
        self._write(Event(step=step, summary=summary))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        checks = (struct.pack("<I", masked_crc32c(part)) for part in (header, data))
        self._file.append(header + next(checks) + data + next(checks))

    def close(self) -> None:
        """Writes what is kept."""
        self._file.close()
