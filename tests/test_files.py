import os
import subprocess
import sys

import pytest

from rnnlab.errors import UserError
from rnnlab.files import alone_in, write_bytes, write_text
from tests import tiny

_HOLD = """
import pathlib, sys
from rnnlab.files import alone_in, write_bytes, write_text
with alone_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_one_process_s_alone_until_that_ends_however_it_ends(tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=tiny.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process is training in it"), alone_in(tmp_path):
            pass
        other.kill()
    with alone_in(tmp_path):
        pass


def test_a_folder_into_which_nothing_came_is_gone_again(tmp_path):
    with pytest.raises(ValueError, match="no"), alone_in(tmp_path / "new"):
        raise ValueError("no")
    assert not (tmp_path / "new").exists()
    with alone_in(tmp_path / "new"):
        (tmp_path / "new" / "something").touch()
    assert (tmp_path / "new" / "something").exists()


def test_a_file_is_written_whole_or_not_at_all_and_leaves_no_part(tmp_path, monkeypatch):
    path, twin = tmp_path / "a.csv", tmp_path / "a.json"
    write_text(path, "é\r\n")
    assert path.read_bytes() == "é\r\n".encode()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    for target in (path, twin):
        with pytest.raises(OSError, match="No space"):
            write_bytes(target, b"other")
    assert [left.name for left in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_bytes() == "é\r\n".encode()
