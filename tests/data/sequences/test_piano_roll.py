import io
import os
import pathlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from rnnlab.data.sequences.base import has_split, read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config


def _rolls(*rolls):
    row = np.empty((1, len(rolls)), object)
    row[0] = [np.array(roll, np.uint8) for roll in rolls]
    return row


def _write(folder, **variables) -> str:
    scipy.io.savemat(folder / "t.mat", variables)
    return str(folder / "t.mat")


_LONG, _SHORT = [[0, 1], [1, 1], [0, 0]], [[1, 0], [0, 1]]


def _config(name: str):
    return data_config("piano_roll", files__train=name, answer="labels_per_step")


def test_the_answer_at_a_step_is_the_next_step(tmp_path):
    examples = read_split(_config(_write(tmp_path, traindata=_rolls(_LONG, _SHORT))), "train")
    assert [one.tolist() for one in examples.inputs] == [_LONG[:-1], _SHORT[:-1]]
    assert [one.astype(int).tolist() for one in examples.answers] == [_LONG[1:], _SHORT[1:]]
    assert examples.places(1) == f"{tmp_path}/t.mat, traindata 2"


def test_a_stream_for_prediction_keeps_all_steps():
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"roll": np.array(_LONG)})
    examples = read_stream(_config(""), stream.getvalue(), "standard input")
    assert [one.tolist() for one in examples.inputs] == [_LONG]
    assert examples.answers is None


def test_sparse_matrices_are_rolls(tmp_path):
    examples = read_split(_config(_write(tmp_path, traindata=scipy.sparse.csc_matrix(np.array(_LONG)))), "train")
    assert examples.inputs[0].tolist() == _LONG[:-1]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"other": _rolls(_LONG), "more": _rolls(_LONG)}, "t.mat: has no variable 'traindata'; it has other, more"),
        ({"traindata": _rolls(_LONG, [[1], [0]])}, "t.mat, traindata 2: 1 key; the first has 2"),
        ({"traindata": _rolls(_LONG, [[1, 0]])}, "t.mat, traindata 2: 1 step; at least 2"),
        ({"traindata": _rolls([[0, 0], [0, 60]])}, "t.mat, traindata 1, step 2, key 2: 60; it must be 0 or 1"),
    ],
)
def test_bad_input_is_told_with_its_place(tmp_path, variables, message):
    with pytest.raises(UserError, match=message):
        read_split(_config(_write(tmp_path, **variables)), "train")


def test_files_of_train_that_hold_different_splits_are_refused(tmp_path):
    names = [str(tmp_path / name) for name in ("splits.mat", "one.mat")]
    scipy.io.savemat(names[0], {key: _rolls(_LONG) for key in ("traindata", "validdata", "testdata")})
    scipy.io.savemat(names[1], {"rolls": _rolls(_LONG)})
    for order in (names, names[::-1]):
        with pytest.raises(UserError, match=rf"{order[1]}: has .*, but {order[0]} has "):
            has_split(_config(",".join(order)), "test")
    assert len(read_split(_config(f"{names[0]},{names[0]}"), "test").inputs) == 2


def test_files_of_different_keys_are_not_joined(tmp_path):
    names = [str(tmp_path / name) for name in ("a.mat", "b.mat")]
    for name, roll in zip(names, (_LONG, [[1], [0]]), strict=True):
        scipy.io.savemat(name, {"traindata": _rolls(roll)})
    with pytest.raises(UserError, match=r"b.mat, traindata 1: has steps of 1 number, .*a.mat, traindata 1 are of 2"):
        read_split(_config(",".join(names)), "train")


def test_another_file_is_no_mat(tmp_path):
    (tmp_path / "t.mat").write_bytes(b"no such file" * 40)
    with pytest.raises(UserError, match=r"t.mat: not a .mat file"):
        read_split(_config(str(tmp_path / "t.mat")), "train")


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder")
def test_jsb_chorales_are_whole():
    path = pathlib.Path(os.environ["RNNLAB_DATA"]) / "music" / "JSB_Chorales.mat"
    config = _config(str(path))
    whole = scipy.io.loadmat(path)
    for split, key in {"train": "traindata", "validation": "validdata", "test": "testdata"}.items():
        assert has_split(config, split)
        examples = read_split(config, split)
        assert len(examples.inputs) == whole[key].size
        for inputs, answers, roll in zip(examples.inputs, examples.answers, whole[key][0], strict=True):
            np.testing.assert_array_equal(np.concatenate([inputs[:1], answers]), roll)
            np.testing.assert_array_equal(inputs[1:], answers[:-1])
