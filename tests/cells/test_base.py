import copy
import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import CELLS, Cell, find_cell, structured, zoneout
from rnnlab.scans import scan

IN, HIDDEN = 6, 8
STRUCTURES = ("dense", "heads2", "heads4", "diagonal", "none")


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


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if "R" not in cell.reads_params])
def test_a_structure_takes_the_place_of_another_and_the_first_gives_the_plain_cell_back(name):
    plain = CELLS[name]
    for one in STRUCTURES:
        cell = structured(plain, one)
        assert cell.recurrence == one
        assert cell.name == (name if one == plain.recurrence else f"{name}/{one}")
        assert find_cell(cell.name) == find_cell(f"{name}/{one}") == cell
        assert structured(cell, plain.recurrence) == plain
        for other in STRUCTURES:
            assert structured(cell, other) == structured(plain, other)


def test_a_cell_that_no_registry_knows_comes_back_from_another_structure_too():
    mine = dataclasses.replace(CELLS["rnn"], name="mine/dense/diagonal", recurrence="diagonal")
    assert structured(structured(mine, "heads2"), "none").name == "mine/dense/diagonal/none"
    assert structured(structured(mine, "heads2"), "diagonal") == mine


def _scaled(params, state, a, r, *, scale):
    return (jnp.tanh(scale * (a + r)),)


def _scale(value, *, by):
    return by * value


def _bent(params, state, a, r, *, bend):
    return (bend(a + r),)


def _draw(key, shape):
    return jax.random.normal(key, shape)


def _make(**changes) -> Cell:
    facts = {
        "name": "mine",
        "gates": ("h",),
        "combine": functools.partial(_scaled, scale=2.0),
        "gate_bias": {"h": 0.5},
        "memory_gates": {"h": 1},
        "unit_params": {"scale": 1.0, "drawn": _draw},
    }
    return Cell(**facts | changes)


def _every_cell() -> list[Cell]:
    own = [
        _make(),
        zoneout.expected(_make(), (0.5,)),
        *(zoneout.expected(CELLS[n], (0.1, 0.1)) for n in ("lstm", "lru")),
    ]
    return [*CELLS.values(), *map(find_cell, ("lstm/diagonal", "slstm/heads4", "min_gru/dense")), *own]


@pytest.mark.parametrize("cell", _every_cell(), ids=lambda cell: cell.name)
def test_a_cell_is_equal_to_its_copies_and_to_what_comes_back_from_a_pickle(cell):
    others = copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), dataclasses.replace(cell)
    assert {cell, *others} == {cell}
    for other in others:
        assert dataclasses.asdict(other) == dataclasses.asdict(cell)
        assert jax.tree.map(jnp.shape, other.init(jax.random.key(0), IN, HIDDEN)) == jax.tree.map(
            jnp.shape, cell.init(jax.random.key(0), IN, HIDDEN)
        )
    assert len(set(CELLS.values())) == len(CELLS)


def test_a_cell_is_another_with_any_other_fact():
    def other(params, state, a, r):
        return state

    changes = [
        {"name": "other"},
        {"gates": ("g",), "gate_bias": {}, "memory_gates": {}},
        {"combine": other},
        {"combine": functools.partial(_scaled, scale=3.0)},
        {"combine": functools.partial(_scaled, scale=2)},  # integers stay integers in a program
        {"state_names": ("h", "c")},
        {"gate_bias": {}},
        {"gate_bias": {"h": 0.25}},
        {"memory_gates": {"h": -1}},
        {"unit_params": {"scale": 2.0, "drawn": _draw}},
        {"unit_params": {"drawn": _draw, "scale": 1.0}},  # each is drawn by its place
        {"split_gates": ("h",)},
        {"reads_params": ("b",)},
        {"mixes_units": True},
        {"affine": True},
        {"recurrence": "none"},
        {"together": ("h",)},
    ]
    cells = [_make(), *(_make(**change) for change in changes)]
    assert len(set(cells)) == len(cells)
    assert all(cell != _make() for cell in cells[1:])


def test_lists_dicts_and_numbers_of_any_kind_are_facts_that_do_not_change_afterwards():
    bias, drawn = {"h": np.float32(0.5)}, {"scale": jnp.ones(()), "drawn": _draw}
    cell = _make(gates=["h"], state_names=["h"], split_gates=[], gate_bias=bias, unit_params=drawn)
    bias["h"] = 3.0
    drawn.clear()
    assert cell == _make()
    assert hash(cell) == hash(_make())
    assert cell.gate_bias == {"h": 0.5}
    with pytest.raises(ValueError, match="cell 'mine': unit_params must hold numbers"):
        _make(unit_params={"scale": np.ones(3)})
    nested = [functools.partial(_bent, bend=functools.partial(_scale, by=2.0)) for _ in range(2)]
    assert _make(combine=nested[0]) == _make(combine=nested[1]) != _make(combine=_scaled)
    assert pickle.loads(pickle.dumps(_make(combine=nested[0]))) == _make(combine=nested[1])
    biases = {"gates": ("i", "f"), "memory_gates": {}}
    assert _make(gate_bias={"i": 1, "f": 2}, **biases) == _make(gate_bias={"f": 2, "i": 1}, **biases)
    arrays = functools.partial(_scaled, scale=np.ones(HIDDEN))
    assert _make(combine=arrays) == _make(combine=arrays)  # no facts that could be compared: equal to itself only
    assert hash(_make(combine=arrays)) == hash(_make(combine=arrays))


@pytest.mark.parametrize("name", ["lstm", "min_gru", "rnn/diagonal", "mine"])
def test_equal_cells_are_one_program(name):
    cell = _make(unit_params={}) if name == "mine" else find_cell(name)
    params = cell.init(jax.random.key(0), 3, 4)
    traced = []

    @functools.partial(jax.jit, static_argnums=0)
    def run(cell, params):
        traced.append(cell)
        return scan(cell, params, jnp.ones((2, 1, 3)))[0]

    rebuilt = Cell(**{field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)})
    for equal in (cell, copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), rebuilt):
        run(equal, params)
    assert len(traced) == 1


def test_facts_about_entries_of_the_state_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"'mine': together names \['c'\], but its state is \('h',\)"):
        _make(together=("h", "c"))
    with pytest.raises(ValueError, match="'mine': mean is for the entries in `together`, which is empty"):
        _make(mean=lambda rate, old, new: new)
