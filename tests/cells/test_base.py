import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import CELLS, Cell, find_cell, structured

IN, HIDDEN = 6, 8


@pytest.mark.parametrize("name", CELLS)
def test_each_gate_starts_orthogonal_and_within_the_glorot_bound(name):
    cell = structured(CELLS[name], "dense")
    params = cell.init(jax.random.key(1), IN, HIDDEN)
    for block in np.split(np.asarray(params["R"]), len(cell.gates), axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(HIDDEN), atol=1e-5)
    bound = np.sqrt(6 / (IN + HIDDEN))
    assert 0.9 * bound < np.abs(params["W"]).max() <= bound


@pytest.mark.parametrize("name", CELLS)
def test_gates_are_drawn_apart_and_follow_from_the_key(name):
    cell = structured(CELLS[name], "dense")
    params, again = (cell.init(jax.random.key(1), IN, HIDDEN) for _ in range(2))
    other = cell.init(jax.random.key(2), IN, HIDDEN)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert not np.array_equal(params["W"], other["W"])
    blocks = np.split(np.asarray(params["R"]), len(cell.gates), axis=1)
    assert all(not np.allclose(blocks[0], block) for block in blocks[1:])


def test_each_head_starts_orthogonal_and_a_diagonal_between_0_and_1():
    heads = find_cell("lstm/heads4").init(jax.random.key(1), IN, HIDDEN)["R"]
    assert heads.shape == (4, 2, 8)
    for block in np.asarray(heads).reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(-1, 2, 2):
        np.testing.assert_allclose(block @ block.T, np.eye(2), atol=1e-5)
    diagonal = np.asarray(find_cell("lstm/diagonal").init(jax.random.key(1), IN, HIDDEN)["R"])
    assert diagonal.shape == (4 * HIDDEN,)
    assert 0 <= diagonal.min() < 0.5 < diagonal.max() <= 1
    assert "R" not in find_cell("lstm/none").init(jax.random.key(1), IN, HIDDEN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstn", "unknown value 'lstn'; allowed: rnn.*lstm.*/headsN"),
        ("lstm/sparse", "cell 'lstm/sparse': unknown recurrence 'sparse'; allowed: dense, headsN"),
        ("lstm/heads0", "unknown recurrence 'heads0'"),
        ("lstm/", "unknown recurrence ''"),
        ("gru_reset_before/diagonal", "recurrence 'diagonal' is not allowed; its combine multiplies with a dense R"),
    ],
)
def test_a_cell_that_cannot_be_is_refused_by_name(name, message):
    with pytest.raises(ValueError, match=message):
        find_cell(name)


def test_heads_that_cannot_share_the_units_are_refused():
    with pytest.raises(ValueError, match="cell 'lstm/heads3': 8 units cannot be shared by 3 heads"):
        find_cell("lstm/heads3").init(jax.random.key(0), IN, HIDDEN)


@pytest.mark.parametrize("name", CELLS)
def test_initial_state_is_zero_in_the_dtype_asked_for(name):
    state = CELLS[name].initial_state(3, HIDDEN, jnp.bfloat16)
    assert len(state) == len(CELLS[name].state_names)
    assert {(entry.shape, entry.dtype.name) for entry in state} == {((3, HIDDEN), "bfloat16")}
    assert not any(np.any(entry) for entry in state)


def test_a_bias_for_a_gate_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"'mine'.*forget.*'i', 'f'"):
        Cell(name="mine", gates=("i", "f"), combine=lambda p, s, a, r: s, gate_bias={"forget": 1.0})


def test_the_registry_names_each_cell_as_the_cell_does():
    assert all(name == cell.name for name, cell in CELLS.items())
    assert {"rnn", "rnn_relu", "gru", "gru_reset_before", "lstm"} <= set(CELLS)
