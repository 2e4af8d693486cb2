import errno
import logging
import os
import pathlib
import struct

import numpy as np
import pytest
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event

from rnnlab.training.records import Events, GrowingFile, Rows, read_rows


class _Full:
    """A file on a disk with room for so many more bytes."""

    def __init__(self, file, room: int):
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= (written := self.file.write(data[: self.room]))
        return written

    def close(self):
        self.file.close()


def test_what_a_full_disk_refuses_is_written_when_there_is_room_again(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    rows = Rows(tmp_path / "m.csv", ("step", "value"), start=0)
    disk = rows._file._file = _Full(rows._file._file, room=6)
    for step in range(1, 6):
        rows.write([(step, step / 3)])
    assert caplog.text.count("m.csv cannot be written (No space left on device)") == 1
    disk.room = 10**6
    rows.close()
    found = read_rows(tmp_path / "m.csv", ("step", "value"))
    assert [(int(row["step"]), float(row["value"])) for row in found] == [(step, step / 3) for step in range(1, 6)]


@pytest.mark.parametrize("stage", ["open", "write", "replace"])
def test_a_file_is_written_anew_whole_or_not_at_all_and_then_takes_what_came_meanwhile(
    tmp_path, monkeypatch, caplog, stage
):
    """Killed at any moment of a restart with a full disk, it would hold every row of before."""
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    path, fields = tmp_path / "v.csv", ("step", "value")
    rows = Rows(path, fields, start=0)
    rows.write((step, step / 3) for step in range(1, 1001))
    rows.close()
    before, full = path.read_bytes(), OSError(errno.ENOSPC, "No space left on device")

    def refuse(*arguments, **options):
        if stage == "write":
            with open(arguments[0], "wb") as file:  # half of it could be written
                file.write(arguments[1][:5000])
        raise full

    with monkeypatch.context() as disk:
        if stage == "replace":
            disk.setattr(os, "replace", refuse)
        else:
            disk.setattr(pathlib.Path, {"open": "open", "write": "write_bytes"}[stage], refuse)
            disk.setattr(pathlib.Path, "read_text", lambda *_, **options: before.decode())
        rows = Rows(path, fields, start=990)
        rows.write([(991, 0.5)])
        assert path.stat().st_size == len(before)
    assert path.read_bytes() == before
    assert caplog.text.count("v.csv cannot be written (No space left on device)") == 1
    rows.write([(992, 0.25)])
    found = [(int(row["step"]), float(row["value"])) for row in read_rows(path, fields)]
    assert found == [*((step, step / 3) for step in range(1, 991)), (991, 0.5), (992, 0.25)]
    rows.close()
    assert [left.name for left in tmp_path.iterdir()] == ["v.csv"]


@pytest.mark.parametrize("rest", [b"4,0.1", b"4", b"x,0.5\r\n", b"\xff\xfe,1\r\n", b"\0\0\0", b",\r\n"])
def test_a_line_that_is_cut_or_none_of_ours_is_no_row(tmp_path, rest):
    path, fields = tmp_path / "v.csv", ("step", "value")
    path.write_bytes(b"step,value\r\n3,0.5\r\n" + rest)
    Rows(path, fields, start=9).close()
    assert path.read_bytes() == b"step,value\r\n3,0.5\r\n"


def test_a_device_that_is_always_full_ends_nothing():
    file = GrowingFile(pathlib.Path("/dev/full"))
    file.append(b"x")
    file.close()


def test_events_are_records_of_tensorboard_with_the_checks_that_it_asks_for(tmp_path):
    events = Events(tmp_path / "t", start=7)
    events.add(summary.scalar("train/loss", 0.25), 8)
    events.close()
    (path,) = (tmp_path / "t").iterdir()
    data, read = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == _masked_crc(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == _masked_crc(data[12 : 12 + length])
        read.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    assert read[0].file_version == "brain.Event:2"
    assert (read[1].step, read[1].session_log.status) == (7, 1)
    assert (read[2].step, read[2].summary.value[0].tag, read[2].summary.value[0].simple_value) == (
        8,
        "train/loss",
        0.25,
    )


def _masked_crc(data: bytes) -> int:
    """CRC-32C bit by bit, rotated and shifted as TFRecord asks."""
    crc = np.uint32(0xFFFFFFFF)
    for byte in data:
        crc ^= np.uint32(byte)
        for _ in range(8):
            crc = (crc >> np.uint32(1)) ^ (np.uint32(0x82F63B78) if crc & np.uint32(1) else np.uint32(0))
    value = int(crc) ^ 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF
