"""Files that grow during a run. A full disk delays the data with a warning, but loses nothing."""

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
    """A file that grows. Data that cannot be written are buffered, and written with the next ones.

    Args:
      path: its existing contents stay.
      start: new contents instead, which replace the old ones once they have been written completely.
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
        """Appends `data` to the file, or, with a warning the first time, to the buffer."""
        self._held += data
        try:
            if self._file is None:
                self._file = self._open()
            while self._held:
                self._held = self._held[self._file.write(self._held) :]
            self._warned = False
        except OSError as error:
            if not self._warned:
                text = "%s cannot be written (%s); its data are buffered until it can; training continues"
                logging.getLogger("rnnlab").warning(text, self._path, error.strerror)
            self._warned = True

    def close(self) -> None:
        """Tries again to write the buffer."""
        self.append(b"")
        if self._file is not None:
            self._file.close()


class Rows:
    """A CSV that grows; opening it keeps only the rows up to step `start`."""

    def __init__(self, path: pathlib.Path, fields: tuple[str, ...], start: int):
        kept = [row for row in read_rows(path, fields) if int(row["step"]) <= start]
        self._file = GrowingFile(path, _lines([fields, *(tuple(row[field] for field in fields) for row in kept)]))

    def write(self, rows: Iterable[tuple]) -> None:
        """Adds rows; before this returns each is written completely, or buffered."""
        self._file.append(_lines(rows))

    def close(self) -> None:
        """Writes what is kept."""
        self._file.close()


def _lines(rows: Iterable[tuple]) -> bytes:
    return to_csv(rows, end="\r\n").encode()


def read_rows(path: pathlib.Path, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """Returns the complete rows, with a step number, of a file written by `Rows`; none if the file is missing."""
    if not path.exists():
        return []
    whole, ends, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    rows = csv.DictReader(io.StringIO(whole + ends, newline=""))
    return [row for row in rows if all(row.get(field) for field in fields) and row["step"].isdecimal()]


class Events:
    """TensorBoard's events, written at once (tensorboardX's own writer ends with the first full disk).

    Args:
      folder: created if missing; it gets a new file.
      start: TensorBoard discards data of earlier files in the folder from this step on; None discards none.
    """

    def __init__(self, folder: pathlib.Path, start: int | None):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = GrowingFile(folder / f"events.out.tfevents.{time.time_ns()}")
        self._write(Event(file_version="brain.Event:2"))
        if start is not None:
            self._write(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def add(self, summary: Summary, step: int) -> None:
        """Adds a summary from `tensorboardX.summary`."""
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
