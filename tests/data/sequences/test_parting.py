import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.data.sequences.base import digest, held_out, read_split
from rnnlab.data.sequences.examples import Examples, select
from rnnlab.data.sequences.parting import chunk_steps, every_nth, permute_steps
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config


def _examples(values: list[float], answers: list | None = None) -> Examples:
    inputs = [np.full((3, 1), value, np.float32) for value in values]
    return Examples(inputs, answers, None, places=lambda i: f"here, line {i + 1}")


def _values(examples: Examples) -> list[float]:
    return [float(one[0, 0]) for one in examples.inputs]


@given(st.lists(st.integers(0, 9), min_size=2), st.floats(0.05, 0.5), st.randoms())
def test_what_is_held_out_depends_on_contents_alone(values, share, random):
    if len(set(values)) == 1:
        with pytest.raises(UserError, match=r"here, line 1: too few different examples .* to hold some out"):
            held_out(_examples(values), share)
        return
    train, validation = held_out(_examples(values), share)
    assert sorted(_values(train) + _values(validation)) == sorted(values)
    assert train.inputs
    assert validation.inputs
    assert not set(_values(train)) & set(_values(validation))
    order = list(range(len(values)))
    random.shuffle(order)
    _, again = held_out(_examples([values[i] for i in order]), share)
    assert sorted(_values(again)) == sorted(_values(validation))


def test_the_share_that_is_held_out_is_the_wanted_one_in_the_order_of_the_file():
    train, validation = held_out(_examples(list(range(200)), [str(i % 4) for i in range(200)]), 0.1)
    assert len(validation.inputs) == 20
    assert _values(train) == sorted(_values(train))
    assert validation.answers == [str(int(value) % 4) for value in _values(validation)]
    assert [validation.places(i) for i in range(20)] == [f"here, line {int(v) + 1}" for v in _values(validation)]


def test_every_class_keeps_an_example_in_training():
    answers = ["rare" if i % 10 == 0 else "often" for i in range(20)]
    for first in range(30):
        train, _ = held_out(_examples([first * 100 + i for i in range(20)], answers), 0.5)
        assert "rare" in train.answers


def test_every_nth_example_is_the_test_split(tmp_path):
    train, test = every_nth(_examples(list(range(1, 12))), 5)
    assert _values(test) == [5, 10]
    assert _values(train) == [1, 2, 3, 4, 6, 7, 8, 9, 11]
    with pytest.raises(UserError, match=r"config.data.test_every: 12 is not allowed with 11 examples"):
        every_nth(_examples(list(range(11))), 12)
    (tmp_path / "t.csv").write_text("label,v\n" + "".join(f"x,{i}\n" for i in range(1, 12)))
    config = data_config("csv", files__train=f"{tmp_path}/t.csv", test_every=5)
    assert _values(read_split(config, "test")) == [5, 10]
    assert len(read_split(config, "train").inputs) == 9
    with pytest.raises(UserError, match=r"config.data.files.validation: ''"):
        read_split(config, "validation")
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"test_every: 5 is not allowed with config.data.files.test='.*t.csv'"):
            read_split(data_config("csv", files__train="t.csv", files__test=f"{tmp_path}/t.csv", test_every=5), split)


def test_of_a_single_example_the_column_of_sequences_is_pointed_to():
    for part in (lambda examples: held_out(examples, 0.1), lambda examples: every_nth(examples, 2)):
        with pytest.raises(UserError, match=r"of a CSV, --config.data.columns.sequence"):
            part(_examples([1]))
    with pytest.raises(UserError, match=r"1 of 2\) .*files.validation$"):
        held_out(_examples([1, 1]), 0.1)


def test_a_permutation_is_one_for_all_and_chunks_join_steps():
    inputs = [np.arange(6, dtype=np.float32)[:, None] + 10 * i for i in range(3)]
    examples = Examples(inputs, ["a"] * 3, None, places=str)
    permuted = permute_steps(examples, 3)
    order = permuted.inputs[0][:, 0].astype(int)
    assert sorted(order) == list(range(6))
    assert order.tolist() != list(range(6))
    for before, after in zip(inputs, permuted.inputs, strict=True):
        assert after.tolist() == before[order].tolist()
    assert not np.array_equal(permute_steps(examples, 4).inputs[0], permuted.inputs[0])
    unequal = examples._replace(inputs=[inputs[0], np.zeros((6, 2), np.float32)])
    assert [each.shape for each in permute_steps(unequal, 3).inputs] == [(6, 1), (6, 2)]
    assert chunk_steps(examples, 3).inputs[1].tolist() == [[10, 11, 12], [13, 14, 15]]
    assert chunk_steps(examples._replace(names=("x",)), 3).names == ("x 1", "x 2", "x 3")
    with pytest.raises(UserError, match=r"0: 6 steps; config.data.chunk=4 needs a multiple of 4"):
        chunk_steps(examples, 4)
    ragged = examples._replace(inputs=[inputs[0], inputs[1][:5]])
    with pytest.raises(UserError, match=r"1: 5 steps; config.data.permuted needs as many in all"):
        permute_steps(ragged, 1)


def test_the_digest_tells_apart_what_differs():
    plain = _examples([1, 2], ["a", "b"])
    others = [
        _examples([1, 3], ["a", "b"]),
        _examples([1, 2], ["a", "c"]),
        _examples([1, 2]),
        select(plain, [1, 0]),
        plain._replace(inputs=[one.reshape(1, 3) for one in plain.inputs]),
        plain._replace(dt=[np.zeros(3, np.float32)] * 2),
        plain._replace(answers=[("a", "b"), ("c",)]),
        plain._replace(answers=[("a",), ("b", "c")]),
    ]
    assert len({digest(one) for one in [plain, *others]}) == len(others) + 1
    assert digest(plain) == digest(_examples([1, 2], ["a", "b"]))
