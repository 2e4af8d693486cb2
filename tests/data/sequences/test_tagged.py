import gzip
import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from rnnlab.data.sequences.base import read_split, read_stream
from rnnlab.data.sequences.tagged import entities
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config

_IOB2 = ["B-per", "I-per", "O", "B-loc", "B-loc", "I-loc", "B-per"]
_SAME = {
    "IOB2": _IOB2,
    "IOB": ["I-per", "I-per", "O", "I-loc", "B-loc", "I-loc", "I-per"],
    "BIOES": ["B-per", "E-per", "O", "S-loc", "B-loc", "E-loc", "S-per"],
}


def _lines(tags, between="\t", end="\n") -> str:
    return "".join(f"word{i}{between}{tag}{end}" for i, tag in enumerate(tags)) + end


def _read(folder, text: str, scheme: str = ""):
    (folder / "t.conll").write_text(text, newline="")
    config = data_config("tagged", files__train=f"{folder}/t.conll", answer="class_per_step", tag_scheme=scheme)
    return read_split(config, "train")


@pytest.mark.parametrize("scheme", _SAME)
@pytest.mark.parametrize("named", [True, False])
def test_all_schemes_are_read_as_iob2(tmp_path, scheme, named):
    text = _lines(_SAME[scheme]) + _lines(["O"])
    examples = _read(tmp_path, text, scheme if named else "")
    assert examples.answers == [tuple(_IOB2), ("O",)]
    assert examples.inputs == [tuple(f"word{i}" for i in range(7)), ("word0",)]
    assert examples.places(1) == f"{tmp_path}/t.conll, line 9"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text + "\n\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\t", " "),
        lambda text: text.replace("\t", "\tNN\t"),
        lambda text: text.replace("\t", "  x  "),
        lambda text: "-DOCSTART- -X- O O\n\n" + text,
        lambda text: text.replace("\n\n", "\n \t\n\n"),
    ],
)
def test_what_does_not_matter_changes_nothing(tmp_path, change):
    examples = _read(tmp_path, change(_lines(_IOB2)))
    assert examples.answers == [tuple(_IOB2)]
    assert examples.inputs == [tuple(f"word{i}" for i in range(7))]


def test_words_may_be_quotes_number_signs_and_other_white_space(tmp_path):
    words = ('"', "#", "''", "a\u00a0b", "\u2028", "\x0b")
    examples = _read(tmp_path, "".join(f"{word}\tO\n" for word in words))
    assert examples.inputs == [words]


@pytest.mark.parametrize(
    ("tags", "scheme", "message"),
    [
        (["O", "I-a"], "IOB2", "line 2: the tag 'I-a' after 'O' does not fit the scheme IOB2"),
        (["I-a"], "IOB2", "line 1: the tag 'I-a' after the sentence's start"),
        (["B-a", "I-b"], "IOB2", "line 2: the tag 'I-b' after 'B-a'"),
        (["I-a", "B-b"], "IOB", "line 2: the tag 'B-b' after 'I-a' does not fit the scheme IOB"),
        (["B-a", "O"], "BIOES", "line 2: the tag 'O' after 'B-a' does not fit the scheme BIOES"),
        (["O", "B-a"], "BIOES", "line 2: the tag 'B-a' after which the sentence ends does not fit"),
        (["S-a", "E-a"], "BIOES", "line 2: the tag 'E-a' after 'S-a'"),
        (["O", "person"], "IOB2", "line 2: the tag 'person' after 'O'"),
        (["O", "B-"], "IOB2", "line 2: the tag 'B-' after 'O'"),
        (
            ["B-a", "O", "I-a"],
            "",
            "line 3: the tag 'I-a' after 'O' does not fit the scheme IOB2, and the file fits none",
        ),
        (["NOUN"], "", "line 1: the tag 'NOUN' .*; --config.data.tag_scheme=any"),
    ],
)
def test_tags_that_do_not_fit_their_scheme_are_refused_with_their_line(tmp_path, tags, scheme, message):
    with pytest.raises(UserError, match=f"t.conll, {message}"):
        _read(tmp_path, _lines(tags), scheme)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\n", "line 2: 1 column;"),
        ("a\tO\nb\tNN\tO\n", "line 2: 3 columns; .* as the first line has, 2"),
        ("a\tO\n\tO\n", "line 2: no word"),
        ("a\tO\nb\t\n", "line 2: 2 columns; a word first and its tag last"),
        ("-DOCSTART- O\n", "no sentence"),
    ],
)
def test_bad_lines_are_refused_with_their_number(tmp_path, text, message):
    with pytest.raises(UserError, match=rf"t.conll[,:] {message}"):
        _read(tmp_path, text)


def test_any_takes_tags_as_they_are(tmp_path):
    assert _read(tmp_path, _lines(["NOUN", "I-a"]), "any").answers == [("NOUN", "I-a")]


def test_a_stream_for_prediction_may_lack_its_tags():
    config = data_config("tagged", answer="class_per_step")
    for text in ("one\ntwo\n\nthree\n", "one\tO\ntwo\tunheard\n\nthree\n"):
        examples = read_stream(config, text.encode(), "standard input")
        assert examples.inputs == [("one", "two"), ("three",)]
        assert examples.answers is None


@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), min_size=1))
def test_entities_are_those_of_seqeval(tags):
    assert [(kind, start, stop - 1) for start, stop, kind in entities(tags)] == get_entities(tags)


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder")
@pytest.mark.parametrize(
    ("name", "sentences"),
    [("wnut17train.conll.gz", 3394), ("emerging.dev.conll.gz", 1009), ("emerging.test.annotated.gz", 1287)],
)
def test_all_of_wnut17_is_read(name, sentences):
    path = pathlib.Path(os.environ["RNNLAB_DATA"]) / "wnut17" / name
    examples = read_split(data_config("tagged", files__test=str(path), answer="class_per_step"), "test")
    assert len(examples.inputs) == sentences
    pairs = [pair for own in zip(examples.inputs, examples.answers, strict=True) for pair in zip(*own, strict=True)]
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    assert pairs == [tuple(line.split("\t")) for line in lines if line.strip()]
