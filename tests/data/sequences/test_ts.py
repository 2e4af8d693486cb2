import gzip
import os
import pathlib

import numpy as np
import pytest

from rnnlab.data.sequences.base import Scaler, read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config

_HEADER = "@problemName tiny\n@timeStamps false\n@dimensions 2\n@classLabel true a b\n@data\n"


def _read(folder, text: str, **fields):
    path = folder / "tiny.ts"
    path.write_text(text, newline="")
    return read_split(data_config("ts", files__train=str(path), **fields), "train")


def test_channels_of_different_examples_may_have_different_lengths(tmp_path):
    examples = _read(tmp_path, _HEADER + "1,2,3:4,5,6:a\n-1.5e1:7:b\n")
    assert [one.tolist() for one in examples.inputs] == [[[1, 4], [2, 5], [3, 6]], [[-15, 7]]]
    assert examples.answers == ["a", "b"]
    assert examples.dt is None
    assert examples.places(1) == f"{tmp_path}/tiny.ts, line 7"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n \n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("@classLabel", "@CLASSLABEL").replace("@data", "@Data"),
        lambda text: "# a comment\n" + text.replace("4,5", " 4, 5").replace(":a", ": a"),
        lambda text: text.replace("@dimensions 2\n", ""),
    ],
    ids=["windows", "byte-order mark", "blank lines", "open end", "case", "comment and blanks", "no dimensions"],
)
def test_what_does_not_matter_changes_nothing(tmp_path, change):
    examples = _read(tmp_path, change(_HEADER + "1,2:4,5:a\n3:6:b\n"))
    assert [one.tolist() for one in examples.inputs] == [[[1, 4], [2, 5]], [[3, 6]]]
    assert examples.answers == ["a", "b"]


def test_the_kind_of_answer_must_be_that_of_the_header(tmp_path):
    text = "@univariate true\n@targetLabel true\n@data\n1,2,3:0.5\n"
    with pytest.raises(UserError, match=r"tiny.ts, line 3: .* @targetLabel true, .* config.data.answer='numbers'"):
        _read(tmp_path, text)
    with pytest.raises(UserError, match=r"tiny.ts, line 3: .* @classLabel true, .* config.data.answer='class'"):
        _read(tmp_path, text.replace("targetLabel", "classLabel"), answer="numbers")


def test_a_class_that_the_header_lists_may_be_spelled_like_a_missing_one(tmp_path):
    assert _read(tmp_path, _HEADER.replace(" a b", " NA b") + "1:2:NA\n").answers == ["NA"]


def test_files_of_different_channels_are_not_joined(tmp_path):
    (tmp_path / "one.ts").write_text("@classLabel true a\n@data\n1,2:a\n")
    (tmp_path / "two.ts").write_text(_HEADER + "1,2:4,5:a\n")
    names = f"{tmp_path}/two.ts,{tmp_path}/one.ts"
    with pytest.raises(UserError, match=r"one.ts, line 3: has steps of 1 number, .*two.ts, line 6 are of 2"):
        read_split(data_config("ts", files__train=names), "train")


def test_a_target_label_is_a_number(tmp_path):
    text = "@univariate true\n@targetlabel true\n@data\n1,2,3:0.5\n4,5:-7\n"
    examples = _read(tmp_path, text, answer="numbers")
    assert [one.tolist() for one in examples.answers] == [[0.5], [-7]]
    assert [one.shape for one in examples.inputs] == [(3, 1), (2, 1)]


@pytest.mark.parametrize(
    "times", [("0", "2.5", "3"), ("2020-01-01 00:00:00", "2020-01-01 00:00:02.500", "2020-01-01 00:00:03")]
)
def test_timestamps_become_the_time_since_the_step_before(tmp_path, times):
    channels = [",".join(f"({t},{v})" for t, v in zip(times, values, strict=True)) for values in ("123", "456")]
    examples = _read(tmp_path, _HEADER.replace("false", "true") + ":".join(channels) + ":b\n")
    assert examples.inputs[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert examples.dt[0].tolist() == [0, 2.5, 0.5]
    assert examples.answers == ["b"]


def test_missing_values_are_refused_or_filled_and_counted(tmp_path):
    text = _HEADER + "?,2,?:4,5,6:a\n"
    with pytest.raises(UserError, match=r"tiny.ts, line 6, channel 1, value 1: a value is missing; --config.*fill"):
        _read(tmp_path, text)
    examples = _read(tmp_path, text, missing="fill")
    assert "2 missing values are filled" in examples.remarks[0]
    assert "1 of them, with none before" in examples.remarks[0]
    assert "1 missing value is filled" in _read(tmp_path, _HEADER + "1,?:4,5:a\n", missing="fill").remarks[0]
    assert Scaler(np.array([9.0, 9.0]), np.ones(2)).fill(examples.inputs[0]).tolist() == [[9, 4], [2, 5], [2, 6]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2:a\n", "line 1: a .ts file starts with a header"),
        ("\n\n", "the file is empty"),
        ("@problemName x\n@classLabel true a\n", "line 2: the header has no line '@data'"),
        (_HEADER, "no example after @data"),
        (_HEADER + "1,2:3,4:5,6:a\n", "line 6: 3 channels and an answer"),
        (_HEADER + "1,2:3,4\n", "line 6: 1 channel and an answer"),
        (_HEADER + "1,2:3,4:a\n1,2:3:a\n", "line 7: channel 2 has 1 value, channel 1 has 2"),
        (_HEADER + "1,2:3,x4:a\n", "line 6, channel 2, value 2: 'x4' is not a number"),
        (_HEADER + "1,:3,4:a\n", "line 6, channel 1, value 2: '' is not a number"),
        (_HEADER + "1,2:3,1e300:a\n", "line 6, channel 2, value 2: 1e\\+300 is not finite"),
        (_HEADER + "1,2:3,4:c\n", "line 6: the header's @classLabel does not list the class 'c'"),
        (_HEADER + "1,2:3,4:\n", "line 6: no class after the last ':'"),
        (_HEADER.replace(" a b", "") + "1,2:3,4:a\n1:2:?\n", "line 7: no class after the last ':', but '\\?'"),
        (_HEADER.replace(" a b", "") + "1:2:NaN\n", "line 6: no class after the last ':', but 'NaN'"),
        (_HEADER.replace("true a b", "false") + "1,2:3,4\n", "line 5: the header has neither @classLabel true nor"),
        (_HEADER.replace("dimensions 2", "dimensions two"), "line 3: @dimensions needs the number of channels"),
        (_HEADER.replace("false", "true") + "1,2:3,4:a\n", "line 6: with @timestamps true there are"),
        (_HEADER.replace("false", "true") + "(1,1),2:(1,1),(2,1):a\n", "line 6, channel 1: with @timestamps true"),
        (_HEADER.replace("false", "true") + "(0,1):(1,1):a\n", "line 6: the channels have different times"),
        (_HEADER.replace("false", "true") + "(1,1),(0,2):(1,1),(0,2):a\n", "line 6: its times are not in order"),
    ],
)
def test_bad_input_is_told_with_file_and_line(tmp_path, text, message):
    with pytest.raises(UserError, match=f"tiny.ts[,:] {message}") as error:
        _read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_without_dimensions_the_first_example_sets_the_channels(tmp_path):
    text = _HEADER.replace("@dimensions 2\n", "") + "1:2:a\n1:2:3:b\n"
    with pytest.raises(UserError, match=r"line 6: 3 channels .* has 2"):
        _read(tmp_path, text)


def test_a_stream_for_prediction_may_lack_its_answers():
    config = data_config("ts")
    for lines in ("1,2:4,5\n3:6\n", "1,2:4,5:?\n3:6:unheard\n"):
        examples = read_stream(config, (_HEADER + lines).encode(), "standard input")
        assert [one.tolist() for one in examples.inputs] == [[[1, 4], [2, 5]], [[3, 6]]]
        assert examples.answers is None
    with pytest.raises(UserError, match="standard input, line 6, channel 1, value 2: 'x'"):
        read_stream(config, (_HEADER + "1,x:4,5\n").encode(), "standard input")


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder")
def test_japanese_vowels_are_read_as_plain_python_reads_them():
    path = pathlib.Path(os.environ["RNNLAB_DATA"]) / "japanese_vowels" / "JapaneseVowels_TEST.ts.gz"
    examples = read_split(data_config("ts", files__train=str(path)), "train")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines = [line for line in lines if line[0] not in "#@"]
    assert len(examples.inputs) == len(lines) == 370
    for line, inputs, answer in zip(lines, examples.inputs, examples.answers, strict=True):
        *channels, label = line.split(":")
        wanted = [[float(value) for value in channel.split(",")] for channel in channels]
        np.testing.assert_array_equal(inputs, np.array(wanted).T)
        assert answer == label
