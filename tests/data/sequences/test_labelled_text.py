import gzip
import os
import pathlib
from collections import Counter

import pytest

from rnnlab.data.sequences.base import read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config


def _read(folder, content: bytes):
    (folder / "t.tsv").write_bytes(content)
    return read_split(data_config("labelled_text", files__train=str(folder / "t.tsv")), "train")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_first_tab_divides_class_and_text(tmp_path, end):
    lines = ['ham\tGo "until\u2028jurong"\tpoint', "spam\tFree  entry "]
    examples = _read(tmp_path, ("\ufeff" + end.join([*lines, "", ""])).encode())
    assert examples.answers == ["ham", "spam"]
    assert examples.inputs == ['Go "until\u2028jurong"\tpoint', "Free  entry "]
    assert examples.places(1) == f"{tmp_path}/t.tsv, line 2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.tsv: the file is empty"),
        (b"a\tb\nno tab\n", "t.tsv, line 2: a class, one TAB and a text are needed"),
        (b"a\tb\n\na\tb\n", "t.tsv, line 2: a class, one TAB"),
        (b"\tb\n", "t.tsv, line 1: a class, one TAB"),
        (b"a\t \na\tb\n", "t.tsv, line 1: no text"),
        (b"a\tb\na\t\xff\n", "t.tsv, line 2: not UTF-8"),
    ],
)
def test_bad_input_is_told_with_file_and_line(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        _read(tmp_path, content)


def test_a_stream_for_prediction_may_lack_its_classes():
    examples = read_stream(data_config("labelled_text"), gzip.compress(b"ham\tone\ntwo\n"), "standard input")
    assert examples.inputs == ["one", "two"]
    assert examples.answers is None


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder")
def test_all_messages_of_sms_spam_are_read():
    path = pathlib.Path(os.environ["RNNLAB_DATA"]) / "sms_spam" / "sms.tsv.gz"
    config = data_config("labelled_text", files__train=str(path), test_every=5)
    train, test = read_split(config, "train"), read_split(config, "test")
    lines = gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")
    assert Counter(train.answers + test.answers) == Counter(line.split("\t")[0] for line in lines)
    assert test.inputs == [line.rstrip("\r").split("\t", 1)[1] for line in lines[4::5]]
