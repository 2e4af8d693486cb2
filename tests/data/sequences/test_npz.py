import io

import numpy as np
import pytest
from ml_collections import ConfigDict

from rnnlab.data.sequences.base import has_split, read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config

_X = np.arange(24.0).reshape(2, 4, 3)
_Y = np.array([7, 8])
_PER_STEP = np.array([["a", "b", "", "nan"], ["c", "d", "e", "f"]])


def _read(folder, split="train", fields=None, **arrays):
    np.savez(folder / "t.npz", **arrays)
    return read_split(data_config("npz", files__train=str(folder / "t.npz"), **(fields or {})), split)


def test_sequences_have_features_and_may_be_padded(tmp_path):
    examples = _read(tmp_path, x=_X, y=_Y, lengths=np.array([2, 4]))
    assert [one.tolist() for one in examples.inputs] == [_X[0, :2].tolist(), _X[1].tolist()]
    assert examples.inputs[0].dtype == np.float64
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


def test_classes_of_the_padding_may_be_missing(tmp_path):
    examples = _read(tmp_path, fields={"answer": "class_per_step"}, x=_X, y=_PER_STEP, lengths=np.array([2, 4]))
    assert examples.answers == [("a", "b"), ("c", "d", "e", "f")]


def _join(folder, fields=None, *files) -> ConfigDict:
    for number, arrays in enumerate(files):
        np.savez(folder / f"{number}.npz", **arrays)
    names = ",".join(str(folder / f"{number}.npz") for number in range(len(files)))
    return data_config("npz", files__train=names, **(fields or {}))


@pytest.mark.parametrize(
    ("answer", "first", "second", "told"),
    [
        ("class", {"x": _X, "y": _Y}, {"x": _X[:, :, :1], "y": _Y}, "steps of 1 number, .* are of 3"),
        ("forecast", {"x": _X}, {"x": _X[:, :, 0]}, "steps of 1 number, .* are of 3"),
        ("numbers", {"x": _X, "y": np.ones((2, 2))}, {"x": _X, "y": np.ones((2, 3))}, "answers of 3 numbers, .* of 2"),
        ("numbers", {"x": _X, "y": np.ones((2, 2))}, {"x": _X, "y": _Y}, "answers of 1 number, .* of 2"),
        (
            "labels_per_step",
            {"x": _X, "y": np.ones((2, 4, 2))},
            {"x": _X, "y": np.ones((2, 4, 3))},
            "answers of 3 numbers, .* of 2",
        ),
    ],
)
def test_files_of_unequal_widths_are_not_joined(tmp_path, answer, first, second, told):
    with pytest.raises(UserError, match=rf"1.npz, x\[0\]: has {told}") as error:
        read_split(_join(tmp_path, {"answer": answer}, first, second), "train")
    assert "0.npz, x[0]" in str(error.value)


def test_files_of_train_that_hold_different_splits_are_refused(tmp_path):
    plain = {"x": _X, "y": _Y}
    split = {f"{name}_{ending}": array for ending in ("train", "val", "test") for name, array in plain.items()}
    no_test = {name: array for name, array in split.items() if not name.endswith("test")}
    for files in ((split, plain), (plain, split), (split, no_test), (split, split, plain)):
        config = _join(tmp_path, {}, *files)
        for part in ("validation", "test"):
            for ask in (has_split, read_split):
                with pytest.raises(UserError, match=r"\d.npz: has .*, but .*0.npz has .*must have the same splits"):
                    ask(config, part)
    config = _join(tmp_path, {}, split, split)
    assert [len(read_split(config, part).inputs) for part in ("train", "validation", "test")] == [4, 4, 4]
    assert not has_split(_join(tmp_path, {}, plain, plain), "test")


def test_a_second_test_split_by_test_every_is_refused(tmp_path):
    arrays = {"x": _X, "y": _Y, "x_test": _X, "y_test": _Y}
    config = _join(tmp_path, {"test_every": 2}, arrays)
    for part in ("train", "test"):
        with pytest.raises(UserError, match=r"config.data.test_every: 2 is not allowed with the test split of .*0.npz"):
            read_split(config, part)
    without = _join(tmp_path, {"test_every": 2}, {"x": _X, "y": _Y})
    assert [len(read_split(without, part).inputs) for part in ("train", "test")] == [1, 1]


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
        ({"x": _X + np.inf, "y": _Y}, {"missing": "fill"}, r"x\[0, 0, 0\]: inf is not finite"),
        ({"x": _X, "y": _Y, "lengths": np.array([2, 5])}, {}, "lengths: 2 whole numbers .* from 1 to 4"),
        ({"x": _X, "y": _Y, "dt": -np.ones((2, 4))}, {}, "dt: a time since the step before is below 0"),
        ({"x": _X, "y": np.array([1, np.nan])}, {"answer": "numbers"}, r"y\[1\]: missing"),
        ({"x": _X, "y": np.array([[1, 2], [3, np.nan]])}, {"answer": "numbers"}, r"y\[1, 1\]: missing"),
        ({"x": _X, "y": np.zeros((2, 0))}, {"answer": "numbers"}, r"y: of sizes \(2, 0\); at least one number"),
        ({"x": _X, "y": np.float32(1)}, {"answer": "numbers"}, r"y: of sizes \(\); at least one number"),
        ({"x": _X, "y": np.full((2, 4, 1), 3)}, {"answer": "labels_per_step"}, r"y\[0\]: labels must be 0 or 1"),
        ({"x": _X, "y": np.float32(1)}, {"answer": "labels_per_step"}, r"y: of sizes \(\); \[examples, steps, labels"),
        ({"x": _X, "y": np.zeros((2, 4))}, {"answer": "labels_per_step"}, r"y: of sizes \(2, 4\); \[examples, steps"),
        ({"x": _X, "y": np.zeros((2, 4, 0))}, {"answer": "labels_per_step"}, r"y: of sizes \(2, 4, 0\); \[examples"),
        ({"x": _X, "y": np.int64(1)}, {}, r"y: of sizes \(\); \(2,\) are needed"),
        ({"x": _X, "y": np.array([1, np.nan])}, {}, r"y\[1\]: the class is missing"),
        ({"x": _X, "y": np.array(["?", "b"])}, {}, r"y\[0\]: the class is missing"),
        ({"x": _X, "y": _PER_STEP}, {"answer": "class_per_step"}, r"y\[0, 2\]: the class is missing"),
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
