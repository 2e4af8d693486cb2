import gzip
import os
import pathlib

import pytest

from rnnlab.data.parallel_text import read_lines, read_pairs
from rnnlab.errors import UserError


def _write(path, content: bytes):
    path.write_bytes(content)
    return str(path)


def test_two_files_plain_or_gzipped_and_one_tsv_give_the_same_pairs(tmp_path):
    source = _write(tmp_path / "s", "ein Haus \r\nzwei  Häuser\n".encode())
    target = _write(tmp_path / "t.gz", gzip.compress(b"a house\ntwo houses"))
    tsv = _write(tmp_path / "p.tsv", "ein Haus\ta house\nzwei  Häuser\ttwo houses\n".encode())
    wanted = [("ein Haus", "a house"), ("zwei  Häuser", "two houses")]
    assert read_pairs(f"{source},{target}") == read_pairs(tsv) == wanted


def test_a_byte_order_mark_and_unusual_line_separators_are_not_line_ends(tmp_path):
    assert read_lines(_write(tmp_path / "s", "\ufeffa\u2028b\x0bc\nd\n".encode())) == ["a\u2028b\x0bc", "d"]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"a\nb\n", b"a\n", r"s has 2 lines and .*t has 1"),
        (b"a\n\xff\xfe\n", b"a\nb\n", r"s, line 2: not UTF-8"),
        (b"", b"a\n", r"s: the file is empty"),
        (b"\n \n", b"a\nb\n", r"s: the file is empty"),
        (b"a\n\n", b"a\nb\n", r"line 2: one side is empty"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, source, target, message):
    with pytest.raises(UserError, match=message):
        read_pairs(f"{_write(tmp_path / 's', source)},{_write(tmp_path / 't', target)}")


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.gz", b"not gzip"), ("y.gz", gzip.compress(b"a" * 99, mtime=0)[:-9])],
    ids=["not gzip", "cut short"],
)
def test_damaged_gzip_is_named(tmp_path, name, content):
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
        read_lines(_write(tmp_path / name, content))


def test_missing_files_columns_and_names_are_told(tmp_path):
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        read_lines(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"line 2: 3 columns; a source, one TAB and a target"):
        read_pairs(_write(tmp_path / "p.tsv", b"a\tb\na\tb\tc\n"))
    with pytest.raises(UserError, match="two files as 'source,target' or one TSV"):
        read_pairs("a,b,c")


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder of real data")
def test_real_corpora_are_read_whole():
    root = pathlib.Path(os.environ["RNNLAB_DATA"])
    pairs = read_pairs(f"{root}/multi30k/train.de.gz,{root}/multi30k/train.en.gz")
    assert len(pairs) == 29_000
    assert pairs[0][1].startswith("Two young, White males")
    assert len(read_pairs(f"{root}/sigmorphon2020/kor_train.tsv")) == 3_600
