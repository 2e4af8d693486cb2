import bz2
import gzip
import lzma
import os
import pathlib

import pytest

from rnnlab.data.parallel_text import Lines, ParallelText
from rnnlab.errors import UserError


def _lines(path):
    return list(Lines(path))


def _pairs(files):
    return list(ParallelText(files))


def _write(path, content: bytes):
    path.write_bytes(content)
    return str(path)


def test_two_files_plain_or_gzipped_and_one_tsv_give_the_same_pairs(tmp_path):
    source = _write(tmp_path / "s", "ein Haus \r\nzwei  Häuser\n".encode())
    target = _write(tmp_path / "t.gz", gzip.compress(b"a house\ntwo houses"))
    tsv = _write(tmp_path / "p.tsv", "ein Haus\ta house\nzwei  Häuser\ttwo houses\n".encode())
    wanted = [("ein Haus", "a house"), ("zwei  Häuser", "two houses")]
    assert _pairs(f"{source},{target}") == _pairs(tsv) == wanted


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_lines_end_as_on_unix_windows_or_an_old_macintosh(tmp_path, end, last):
    text = end.join(["a\tb ", "", " c\u2028d\x0be", "f\x85g\x0ch"]) + end * last
    assert _lines(_write(tmp_path / "s", text.encode())) == ["a\tb", "", "c\u2028d\x0be", "f\x85g\x0ch"]


def test_a_carriage_return_within_a_line_is_no_line_end(tmp_path):
    assert _lines(_write(tmp_path / "s", b"a\rb\nc\n")) == ["a\rb", "c"]
    assert _lines(_write(tmp_path / "s", b"a\rb\r\nc\r\n")) == ["a\rb", "c"]


def test_byte_order_marks_of_files_that_were_put_together_are_dropped(tmp_path):
    parts = [part.encode("utf-8-sig") for part in ("a\n", "b\nc", "d\n", "")]
    assert _lines(_write(tmp_path / "s", b"".join(parts))) == ["a", "b", "cd"]
    with pytest.raises(UserError, match="s: the file is empty"):
        _lines(_write(tmp_path / "s", "".encode("utf-8-sig")))
    tsv = _write(tmp_path / "p.tsv", "\ufeffa\t\ufeffb\n".encode())  # two such files beside each other
    assert _pairs(tsv) == [("a", "b")]


# by `zstd`, of "ein Haus\nzwei Häuser\n"
_ZSTD = bytes.fromhex("28b52ffd2416b1000065696e20486175730a7a7765692048c3a4757365720ab5d4d7ea")
_PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": lambda _: _ZSTD, "txt": bytes}


@pytest.mark.parametrize("kind", _PACK)
def test_files_are_unpacked_whatever_their_name(tmp_path, kind):
    packed = _PACK[kind]("ein Haus\nzwei Häuser\n".encode())
    for name in (f"s.{kind}", "s", "s.txt"):
        assert _lines(_write(tmp_path / name, packed)) == ["ein Haus", "zwei Häuser"]


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_what_is_packed_and_damaged_or_not_packed_at_all_is_named(tmp_path, kind):
    packed = _PACK[kind]("ein Haus\nzwei Häuser\n".encode())
    for content in (packed[:-5], packed[:12], b"not packed"):
        with pytest.raises(UserError, match=rf"s\.{kind}: cannot be read: ."):
            _lines(_write(tmp_path / f"s.{kind}", content))


@pytest.mark.parametrize(
    "names",
    [("a,b.de", "a,b.en"), ("my file.de", "my file.en"), ("a, b.de", "c.en"), (",", ",,"), ("all, in one.tsv",)],
)
def test_names_may_hold_commas_and_blanks_in_a_list_and_in_a_text(tmp_path, names):
    columns = ("eins\nzwei\n", "one\ntwo\n") if len(names) == 2 else ("eins\tone\nzwei\ttwo\n",)
    paths = [_write(tmp_path / name, text.encode()) for name, text in zip(names, columns, strict=True)]
    for files in (paths, tuple(paths), ",".join(paths), f" {' , '.join(paths)} "):
        assert _pairs(files) == [("eins", "one"), ("zwei", "two")]
    assert list(ParallelText(list(names), str(tmp_path))) == [("eins", "one"), ("zwei", "two")]


def test_a_byte_order_mark_and_unusual_line_separators_are_not_line_ends(tmp_path):
    assert _lines(_write(tmp_path / "s", "\ufeffa\u2028b\x0bc\nd\n".encode())) == ["a\u2028b\x0bc", "d"]


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
        _pairs(f"{_write(tmp_path / 's', source)},{_write(tmp_path / 't', target)}")


def test_missing_files_columns_and_names_are_told(tmp_path):
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        _lines(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"line 2: 2 TABs; a source, one TAB and a target"):
        _pairs(_write(tmp_path / "p.tsv", b"a\tb\na\tb\tc\n"))
    with pytest.raises(UserError, match="two files as 'source,target' or one TSV"):
        _pairs("a,b,c")


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder of real data")
def test_real_corpora_are_read_whole():
    root = pathlib.Path(os.environ["RNNLAB_DATA"])
    pairs = _pairs(f"{root}/multi30k/train.de.gz,{root}/multi30k/train.en.gz")
    assert len(pairs) == 29_000
    assert pairs[0][1].startswith("Two young, White males")
    assert len(_pairs(f"{root}/sigmorphon2020/kor_train.tsv")) == 3_600
