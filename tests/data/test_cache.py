import json
import logging
import os
import pathlib
import select
import subprocess
import sys

import numpy as np
import pytest

from rnnlab.data.cache import Entry, remembered
from rnnlab.files import user_cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of encoded data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    return user_cache("encoded")


class _Made:
    """Makes entries, and counts them."""

    def __init__(self):
        self.number = 0

    def __call__(self) -> Entry:
        self.number += 1
        return Entry({"text": "é"}, {"a": np.arange(5), "b": np.full((2, 3), 7, np.int32)})


def _is_whole(entry: Entry) -> bool:
    a, b = entry.arrays["a"], entry.arrays["b"]
    return entry.note == {"text": "é"} and a.tolist() == [0, 1, 2, 3, 4] and b.tolist() == [[7] * 3] * 2


def test_an_entry_is_made_once_for_each_kind_and_key(cache):
    make = _Made()
    assert all(_is_whole(remembered("pairs", ["a", {"b": 1}], make)) for _ in range(3))
    assert make.number == 1
    for kind, key in (("pairs", ["a", {"b": 2}]), ("texts", ["a", {"b": 1}])):
        remembered(kind, key, make)
    assert make.number == 3


def _other_byte(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _other_note(path: pathlib.Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "e"}))


DAMAGES = {
    "a.npy, another byte": lambda folder: _other_byte(folder / "a.npy"),
    "b.npy, cut off": lambda folder: os.truncate(folder / "b.npy", 130),
    "b.npy, gone": lambda folder: (folder / "b.npy").unlink(),
    "the record, no JSON": lambda folder: os.truncate(folder / "entry.json", 9),
    "the record, another note": lambda folder: _other_note(folder / "entry.json"),
    "the record, gone": lambda folder: (folder / "entry.json").unlink(),
    "the record, a list": lambda folder: (folder / "entry.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew_with_one_line(cache, caplog, damage):
    remembered("pairs", "a", make := _Made())
    (folder,) = cache.glob("pairs-*/")
    DAMAGES[damage](folder)
    assert _is_whole(remembered("pairs", "a", make))
    assert make.number == 2
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"{folder}: is damaged, and made again")
    assert _is_whole(remembered("pairs", "a", make))
    assert make.number == 2


def test_what_a_killed_process_left_is_no_entry_and_is_cleared_away(cache):
    remembered("pairs", "a", make := _Made())
    (folder,) = cache.glob("pairs-*/")
    folder.rename(folder.with_suffix(".part"))
    assert _is_whole(remembered("pairs", "a", make))
    assert make.number == 2
    assert list(cache.glob("pairs-*/")) == [folder]


def test_a_cache_that_cannot_be_written_to_costs_one_warning(cache, caplog):
    cache.parents[1].write_text("a file where the folder should be")
    make = _Made()
    assert all(_is_whole(remembered("pairs", key, make)) for key in ("a", "a", "b"))
    assert make.number == 3
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"{cache}: not writable")


_MAKER = """
import logging, pathlib, sys, time
import numpy as np
from rnnlab.data.cache import Entry, remembered

logging.basicConfig(level=logging.INFO)
began, go = map(pathlib.Path, sys.argv[1:])

def make():
    with began.open("a") as file:
        file.write("once\\n")
    while not go.exists():
        time.sleep(0.01)
    return Entry("made", {"a": np.arange(4)})

entry = remembered("pairs", "a", make)
print(entry.note, entry.arrays["a"].tolist())
"""


def test_of_two_processes_one_makes_the_entry_and_the_other_waits_with_one_line(cache, tmp_path):
    began, go = tmp_path / "began", tmp_path / "go"
    command = [sys.executable, "-c", _MAKER, str(began), str(go)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    said = _first_line(both)
    go.touch()
    (out, err), (other_out, other_err) = (process.communicate(timeout=60) for process in both)
    assert out == other_out == "made [0, 1, 2, 3]\n"
    assert began.read_text() == "once\n"
    assert "waiting for another process that prepares the data" in said
    assert err + other_err == ""


def _first_line(processes) -> str:
    """What the first of the processes that says anything says."""
    ready, _, _ = select.select([process.stderr for process in processes], [], [], 60)
    return ready[0].readline()
