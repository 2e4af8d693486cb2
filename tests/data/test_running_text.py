"""Texts from files and sets, and their tokens."""

import bz2
import gzip
import lzma

import numpy as np
import pytest

from rnnlab.data.running_text import (
    RunningText,
    Texts,
    build_vocabulary,
    decode_ids,
    encode_text,
    line_break,
    read_text_files,
)
from rnnlab.data.vocabulary import EOS, UNK
from rnnlab.errors import UserError

POEM = "The cat sat.\n\nA dog, a cat;\nno end"
OPTIONS = {"lowercase": False, "normal_form": "", "min_count": 1, "size": 60, "language": ""}


def _texts(files, *, validation=0.0, test=0.0, unit="character", name="cmudict_spelling", directory="", prepared=""):
    shares = {"validation": validation, "test": test}
    return Texts(files, name=name, directory=directory, prepared=prepared, shares=shares, unit=unit)


def _text(raw: str) -> RunningText:
    return RunningText(raw.encode(), "poem")


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.txt", bytes), ("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress), ("a", gzip.compress)],
)
def test_files_are_read_plain_or_packed_and_one_after_the_other(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(b"\xef\xbb\xbfone\r\ntwo"))
    (tmp_path / "b, c.txt").write_bytes(b"drei\n")
    assert read_text_files([str(tmp_path / name), str(tmp_path / "b, c.txt")]).raw == b"one\ntwo\ndrei\n"


def test_what_cannot_be_read_is_named_with_its_line(tmp_path):
    (tmp_path / "empty.txt").write_bytes(b" \n")
    with pytest.raises(UserError, match=r"empty\.txt: the file is empty"):
        read_text_files([str(tmp_path / "empty.txt")])
    (tmp_path / "latin.txt").write_bytes(b"one\ntw\xe9\n")
    with pytest.raises(UserError, match=r"latin\.txt, line 2: not UTF-8 \(byte 3: .*unit='byte' reads any bytes"):
        read_text_files([str(tmp_path / "latin.txt")])
    assert read_text_files([str(tmp_path / "latin.txt")], any_bytes=True).raw == b"one\ntw\xe9\n"
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        read_text_files([str(tmp_path / "none.txt")])
    with pytest.raises(UserError, match="but no file for train"):
        _texts({"test": "a.txt"})


def test_line_breaks_are_tokens_of_words_and_characters_of_characters():
    text = _text(POEM)
    words = build_vocabulary(text, OPTIONS | {"unit": "word"})
    found = encode_text(text, words)
    shown = ["</s>" if i == EOS else words.tokens[i] for i in found.ids]
    assert shown == "The cat sat . </s> </s> A dog , a cat ; </s> no end".split()  # noqa: SIM905
    assert found.characters == len(POEM)
    assert decode_ids(found.ids, words) == POEM
    for unit in ("character", "byte"):
        vocabulary = build_vocabulary(text, OPTIONS | {"unit": unit})
        found = encode_text(text, vocabulary)
        assert decode_ids(found.ids, vocabulary) == POEM
        assert found.ids.tolist() == vocabulary.encode(POEM)
        assert vocabulary.tokens[line_break(vocabulary)] == "\n"
    assert line_break(build_vocabulary(_text("abc"), OPTIONS | {"unit": "character"})) is None


@pytest.mark.parametrize("unit", ["word", "symbol", "subword"])
def test_a_text_of_lines_is_encoded_the_same_as_line_by_line(unit):
    text = _text("a bc a\n\n d e \nbc a\n")
    vocabulary = build_vocabulary(text, OPTIONS | {"unit": unit})
    ids = encode_text(text, vocabulary).ids.tolist()
    assert ids == [i for line in ("a bc a", "", "d e", "bc a") for i in (*vocabulary.encode(line), EOS)]


def test_bytes_that_are_no_utf8_and_long_lines_survive():
    raw = b"\xff\xfe a\n" + "ab\u20ac\U0001f600".encode() * 30_000
    text = RunningText(raw, "noise")
    vocabulary = build_vocabulary(text, OPTIONS | {"unit": "byte"})
    assert bytes(vocabulary.tokens[i].encode("latin-1")[0] for i in encode_text(text, vocabulary).ids) == raw
    assert len(list(text.blocks())) > 1
    characters = build_vocabulary(RunningText(raw[5:], "long"), OPTIONS | {"unit": "character"})
    assert decode_ids(encode_text(RunningText(raw[5:], "long"), characters).ids, characters).encode() == raw[5:]


def test_unknown_tokens_of_another_text_are_counted():
    vocabulary = build_vocabulary(_text("abc\n"), OPTIONS | {"unit": "character"})
    found = encode_text(_text("abxyz\n"), vocabulary)
    assert found.unknown == 3
    assert (found.ids == UNK).sum() == 3


def test_shares_are_cut_off_the_end_and_lose_nothing(tmp_path):
    lines = "".join(f"line {i} ü\n" for i in range(100))
    (tmp_path / "all.txt").write_text(lines, encoding="utf-8")
    files = {"train": str(tmp_path / "all.txt"), "validation": "", "test": ""}
    texts = _texts(files, validation=0.1, test=0.2)
    parts = [texts.read(split).raw.decode() for split in texts.splits]
    assert texts.splits == ("train", "validation", "test")
    assert "".join(parts) == lines
    assert [len(part) for part in parts] == [len(lines) * 7 // 10, len(lines) // 10, len(lines) * 2 // 10]
    texts = _texts(files, validation=0.1, unit="word")
    parts = [texts.read(split).raw.decode() for split in texts.splits]
    assert parts[0].endswith("\n")
    assert "".join(parts) == lines
    assert abs(len(parts[1]) - len(lines) / 10) < 10
    (tmp_path / "line.txt").write_text("word " * 100)
    one_line = _texts({"train": str(tmp_path / "line.txt")}, validation=0.1, unit="symbol")
    assert one_line.read("train").raw.endswith(b"word ")
    (tmp_path / "short.txt").write_text("abc")
    with pytest.raises(UserError, match=r"short\.txt: a text of 3 characters is too short for"):
        _texts({"train": str(tmp_path / "short.txt")}, validation=0.1, test=0.1).read("train")
    with pytest.raises(UserError, match="without a validation text"):
        _texts(files)


@pytest.mark.parametrize(
    "text",
    [
        "the cat sat on " * 800 + "\n",  # one line, as text8 has it
        "\n".join("a few words " * 300 for _ in range(10)),
        "long " * 2000 + "\n" + "long " * 2000 + "\nshort\nlines\n",
    ],
)
def test_shares_of_long_lines_are_cut_between_words_and_are_what_was_asked_for(tmp_path, text):
    (tmp_path / "all.txt").write_text(text)
    texts = _texts({"train": str(tmp_path / "all.txt")}, validation=0.1, test=0.05, unit="word")
    parts = [texts.read(split).raw.decode() for split in ("train", "validation", "test")]
    assert "".join(parts) == text
    for part, share in zip(parts, (0.85, 0.1, 0.05), strict=True):
        assert abs(len(part) / len(text) - share) <= 0.1 * 0.05 * 2
    assert all(part.endswith((" ", "\n")) for part in parts[:2])


@pytest.mark.parametrize("raw", [b"\x80" * 300_000, "ü".encode() * 150_000, b"a" + "ü".encode() * 150_000])
def test_bytes_without_lines_are_read_in_few_blocks_that_cut_no_character(raw):
    blocks = list(RunningText(raw, "x").blocks())
    assert len(blocks) <= 6
    assert "".join(blocks) == raw.decode("utf-8", "surrogateescape")


def test_the_spelling_of_words_needs_no_file_and_is_in_no_order_of_the_alphabet():
    texts = _texts({})
    words = {split: texts.read(split).raw.decode().splitlines() for split in texts.splits}
    assert len(words["train"]) > 100_000
    assert words["train"] != sorted(words["train"])
    assert not set(words["train"]) & {*words["validation"], *words["test"]}


def test_the_same_text_is_encoded_once(monkeypatch):
    text = _text("said and done\n" * 3)
    vocabulary = build_vocabulary(text, OPTIONS | {"unit": "word"})
    monkeypatch.setattr("rnnlab.data.running_text.Ragged.of", None)
    again = build_vocabulary(text, OPTIONS | {"unit": "word"})
    assert again == vocabulary
    assert np.array_equal(encode_text(text, again).ids, [*vocabulary.encode("said and done"), EOS] * 3)


def test_a_tfds_set_of_texts_has_its_own_splits_and_a_share_of_training_for_the_others(tmp_path):
    words = pytest.importorskip("tests.data.words")
    rows = pytest.importorskip("tests.data.rows_of_text")
    texts = Texts(
        {}, name=rows.NAME, directory="", prepared=str(tmp_path), shares={"validation": 0.3, "test": 0.3}, unit="byte"
    )
    assert texts.splits == ("train", "validation", "test")
    whole = "one row\ntwo\nlines\ngrößer\n"
    assert texts.read("train").raw + texts.read("validation").raw == whole.encode()
    assert texts.read("test").raw == b"the last\n"
    with pytest.raises(UserError, match=f"TFDS dataset '{words.NAME}' has no feature 'text'"):
        _texts({}, name=words.NAME, prepared=str(tmp_path), validation=0.1)
    with pytest.raises(UserError, match="unknown text 'no_such_text'; allowed: cmudict_spelling, or a TFDS dataset"):
        _texts({}, name="no_such_text", prepared=str(tmp_path), validation=0.1)
