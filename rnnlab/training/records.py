"""Files that grow while a run goes on. A full disk costs a word and time, not what was to be written."""

import csv
import io
import logging
import pathlib
import struct
import time
from collections.abc import Iterable

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c


class GrowingFile:
    """Bytes appended one after the other. What cannot be written is kept, and written with what comes next.

    Args:
      path: written anew.
    """

    def __init__(self, path: pathlib.Path):
        self._path, self._held, self._warned = path, b"", False
        self._file = path.open("wb", buffering=0)

    def append(self, data: bytes) -> None:
        """Adds `data` to what is written, or, with a warning the first time, to what is kept until it can be."""
        self._held += data
        try:
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
        self._file.close()


class Rows:
    """A CSV that grows; opened, it keeps the rows up to step `start`."""

    def __init__(self, path: pathlib.Path, fields: tuple[str, ...], start: int):
        kept = [row for row in read_rows(path, fields) if int(row["step"]) <= start]
        self._file = GrowingFile(path)
        self.write([fields, *(tuple(row[field] for field in fields) for row in kept)])

    def write(self, rows: Iterable[tuple]) -> None:
        """Adds rows, each written whole before this returns, or kept."""
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        self._file.append(text.getvalue().encode())

    def close(self) -> None:
        """Writes what is kept."""
        self._file.close()


def read_rows(path: pathlib.Path, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """The whole rows of a file that `Rows` wrote; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if all(row.get(field) for field in fields)]


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
