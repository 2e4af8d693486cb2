import io

import numpy as np
import pytest

from rnnlab.data.sequences.base import has_split, read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config

_X = np.arange(24.0).reshape(2, 4, 3)
_Y = np.array([7, 8])


def _read(folder, split="train", fields=None, **arrays):
    np.savez(folder / "t.npz", **arrays)
    return read_split(data_config("npz", files__train=str(folder / "t.npz"), **(fields or {})), split)


def test_sequences_have_features_and_may_be_padded(tmp_path):
    examples = _read(tmp_path, x=_X, y=_Y, lengths=np.array([2, 4]))
    assert [one.tolist() for one in examples.inputs] == [_X[0, :2].tolist(), _X[1].tolist()]
    assert examples.inputs[0].dtype == np.float32
    assert examples.answers == ["7", "8"]
    assert examples.places(1) == f"{tmp_path}/t.npz, x[1]"
    one_feature = _read(tmp_path, x=np.arange(8, dtype=np.int16).reshape(2, 4), y=np.array(["u", "v"]))
    assert one_feature.inputs[1].tolist() == [[4], [5], [6], [7]]
    assert one_feature.answers == ["u", "v"]


def test_a_file_may_hold_all_splits(tmp_path):
    arrays = {"x_train": _X, "y_train": _Y, "x_test": _X[:1] + 1, "y_test": _Y[:1]}
    assert len(_read(tmp_path, **arrays).inputs) == 2
    test = _read(tmp_path, "test", **arrays)
    assert [one.tolist() for one in test.inputs] == [(_X[0] + 1).tolist()]
    config = data_config("npz", files__train=str(tmp_path / "t.npz"))
    assert [has_split(config, split) for split in ("train", "validation", "test")] == [True, False, True]
    valid = _read(tmp_path, "validation", x_train=_X, y_train=_Y, x_valid=_X[1:], y_valid=_Y[1:])
    assert valid.answers == ["8"]


def test_each_kind_of_answer_has_its_sizes(tmp_path):
    per_step = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    lengths = np.array([2, 4])

    def answers(kind, y):
        return _read(tmp_path, fields={"answer": kind}, x=_X, y=y, lengths=lengths).answers

    assert answers("class_per_step", per_step) == [("1", "2"), ("5", "6", "7", "8")]
    assert [one.tolist() for one in answers("numbers", np.array([0.5, 2]))] == [[0.5], [2]]
    assert [one.tolist() for one in answers("numbers", per_step)] == per_step.tolist()
    labels = np.arange(16).reshape(2, 4, 2) % 3 == 0
    assert [one.tolist() for one in answers("labels_per_step", labels)] == [labels[0, :2].tolist(), labels[1].tolist()]
    assert answers("forecast", _Y) is None


def test_times_are_read(tmp_path):
    examples = _read(tmp_path, x=_X, y=_Y, dt=np.array([[0, 1, 2, 3], [0, 4, 5, 6]]), lengths=np.array([3, 4]))
    assert [one.tolist() for one in examples.dt] == [[0, 1, 2], [0, 4, 5, 6]]


def test_missing_values_are_refused_or_counted_but_not_in_the_padding(tmp_path):
    x = _X.copy()
    x[0, 2:] = np.nan
    assert _read(tmp_path, x=x, y=_Y, lengths=np.array([2, 4])).remarks == ()
    with pytest.raises(UserError, match=r"t.npz, x\[0, 2, 0\]: a value is missing"):
        _read(tmp_path, x=x, y=_Y)
    assert "6 missing values are filled" in _read(tmp_path, x=x, y=_Y, fields={"missing": "fill"}).remarks[0]


@pytest.mark.parametrize(
    ("arrays", "fields", "message"),
    [
        ({"y": _Y}, {}, "has no array 'x'; it has y"),
        ({"x": _X}, {}, "has no array 'y'; it has x"),
        ({"x": _X, "y": _Y[:1]}, {}, r"y: of sizes \(1,\); \(2,\) are needed"),
        ({"x": _X[0, 0], "y": _Y}, {}, r"x: of sizes \(3,\)"),
        ({"x": _X.astype(str), "y": _Y}, {}, "x: of the type <U32; numbers"),
        ({"x": np.array([_X[0], 1], object), "y": _Y}, {}, "x: an array of Python objects"),
        ({"x": _X + np.inf, "y": _Y}, {"missing": "fill"}, r"x\[0, 0, 0\]: not finite"),
        ({"x": _X, "y": _Y, "lengths": np.array([2, 5])}, {}, "lengths: 2 whole numbers .* from 1 to 4"),
        ({"x": _X, "y": _Y, "dt": -np.ones((2, 4))}, {}, "dt: a time since the step before is below 0"),
        ({"x": _X, "y": _Y / np.nan}, {"answer": "numbers"}, "y: of sizes .* none missing"),
        ({"x": _X, "y": np.full((2, 4, 1), 3)}, {"answer": "labels_per_step"}, r"y\[0\]: labels must be 0 or 1"),
    ],
)
def test_bad_input_is_told_with_file_and_array(tmp_path, arrays, fields, message):
    with pytest.raises(UserError, match=f"t.npz[,:] {message}"):
        _read(tmp_path, fields=fields, **arrays)


def test_another_file_is_no_npz(tmp_path):
    for content in (b"PK\x03\x04 no zip", b"text"):
        (tmp_path / "t.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"t.npz: not an .npz file"):
            read_split(data_config("npz", files__train=str(tmp_path / "t.npz")), "train")


def test_a_stream_for_prediction_needs_no_answers():
    stream = io.BytesIO()
    np.savez(stream, x=_X)
    examples = read_stream(data_config("npz"), stream.getvalue(), "standard input")
    assert [one.tolist() for one in examples.inputs] == _X.tolist()
    assert examples.answers is None
