import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnlab.cells import CELLS, find_cell
from rnnlab.gradient_flow import lyapunov_exponents
from rnnlab.gradient_flow.interventions import (
    chrono_biases,
    draw_recurrent,
    flossing_penalty,
    limit_spectral_norm,
    set_gate_bias,
)
from rnnlab.scans import step_jacobian
from tests import nightly

HIDDEN = 64
_KEEPING = [n for n in CELLS if CELLS[n].memory_gates and n != "slstm"]  # whose stabiliser always passes on 1


def _params(name, hidden=HIDDEN):
    return CELLS[name].init(jax.random.key(0), 3, hidden)


def _blocks(name, params):
    return np.split(np.asarray(params["R"]), len(CELLS[name].gates), axis=1)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_each_block_is_drawn_as_its_name_says(name):
    key, params = jax.random.key(1), _params(name)
    for block in _blocks(name, draw_recurrent(CELLS[name], params, key, kind="orthogonal", gain=0.7)):
        np.testing.assert_allclose(block.T @ block, 0.49 * np.eye(HIDDEN), atol=1e-5)
    for block in _blocks(name, draw_recurrent(CELLS[name], params, key, kind="identity", gain=2.0)):
        np.testing.assert_array_equal(block, 2 * np.eye(HIDDEN))
    gaussian = _blocks(name, draw_recurrent(CELLS[name], params, key, kind="gaussian", gain=1.5))
    for block in gaussian:
        assert block.std() * HIDDEN**0.5 == pytest.approx(1.5, rel=0.05)
        assert np.abs(np.linalg.eigvals(block)).max() == pytest.approx(1.5, rel=0.15)  # the circular law
    assert len({block.tobytes() for block in gaussian}) == len(gaussian)


@pytest.mark.parametrize("name", _KEEPING)
def test_chrono_units_keep_from_half_to_all_but_one_part_in_the_longest(name):
    cell, params = CELLS[name], _params(name)
    params = chrono_biases(cell, params, jax.random.key(2), longest=50)
    params |= {"R": jnp.zeros_like(params["R"])} if "R" in params else {}
    state = cell.initial_state(1, HIDDEN)
    jacobian = np.asarray(step_jacobian(cell, params, state, jnp.zeros((1, 3))))[0]
    memory = jacobian[-HIDDEN:, -HIDDEN:].diagonal()  # of the entry that lasts: h of a GRU, c of an LSTM
    lasts = 1 / (1 - memory)
    assert lasts.min() >= 2 - 1e-4
    assert lasts.max() <= 50 + 1e-2
    assert lasts.mean() == pytest.approx(26, rel=0.15)
    if name == "lstm":
        first, second, *_ = np.split(np.asarray(params["b"]), 4)
        np.testing.assert_allclose(first, -second)


def test_an_r_that_is_not_dense_is_neither_drawn_nor_limited():
    cell = find_cell("lstm/heads2")
    params = cell.init(jax.random.key(0), 3, HIDDEN)
    for change in (
        lambda: draw_recurrent(cell, params, jax.random.key(1), kind="identity"),
        lambda: limit_spectral_norm(cell, params, 1.0),
    ):
        with pytest.raises(
            ValueError, match="cell 'lstm/heads2': this needs a dense R, but its recurrence is 'heads2'"
        ):
            change()


def test_a_gate_is_given_its_bias_and_no_other_changes():
    params = _params("lstm")
    changed = set_gate_bias(CELLS["lstm"], params, "f", jnp.array(3.0))
    wanted = np.asarray(params["b"]).copy()
    wanted[HIDDEN : 2 * HIDDEN] = 3
    np.testing.assert_array_equal(changed["b"], wanted)


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_the_spectral_norm_of_each_block_is_limited_and_what_lies_within_stays(name):
    cell, params = CELLS[name], _params(name)
    wide = draw_recurrent(cell, params, jax.random.key(1), kind="gaussian", gain=1.0)
    for before, after in zip(_blocks(name, wide), _blocks(name, limit_spectral_norm(cell, wide, 0.9)), strict=True):
        values = np.linalg.svd(before, compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(after, compute_uv=False), np.minimum(values, 0.9), atol=1e-5)
    np.testing.assert_allclose(limit_spectral_norm(cell, params, 1.1)["R"], params["R"], atol=1e-5)


@pytest.mark.parametrize("name", [*nightly.only("rnn", "gru"), "lstm"])
def test_the_gradient_of_flossing_is_a_difference_of_penalties(name):
    cell = CELLS[name]
    with jax.enable_x64(True):
        params = cell.init(jax.random.key(0), 3, 5, jnp.float64)
        inputs = jax.random.normal(jax.random.key(1), (12, 2, 3))
        direction = jax.tree.map(lambda v: jax.random.normal(jax.random.key(2), v.shape), params)

        def along(step):
            moved = jax.tree.map(lambda v, d: v + step * d, params, direction)
            return flossing_penalty(cell, moved, inputs, exponents=2, burn_in=2)

        difference = (along(1e-6) - along(-1e-6)) / 2e-6
        assert float(jax.grad(along)(0.0)) == pytest.approx(float(difference), rel=1e-5)


@pytest.mark.nightly
def test_flossing_drives_the_largest_exponents_to_zero():
    cell = CELLS["rnn"]
    params = draw_recurrent(cell, _params("rnn", 16), jax.random.key(1), kind="gaussian", gain=0.5)
    inputs = 0.1 * jax.random.normal(jax.random.key(2), (40, 4, 3))
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda p: flossing_penalty(cell, p, inputs, exponents=4, burn_in=10))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    before = float(flossing_penalty(cell, params, inputs, exponents=4, burn_in=10))
    state = optimizer.init(params)
    for _ in range(150):
        params, state = step(params, state)
    assert float(flossing_penalty(cell, params, inputs, exponents=4, burn_in=10)) < before / 20
    unseen = 0.1 * jax.random.normal(jax.random.key(3), (200, 4, 3))
    assert np.abs(lyapunov_exponents(cell, params, unseen, exponents=4)).max() < np.sqrt(before) / 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: draw_recurrent(CELLS["rnn"], p, jax.random.key(0), kind="he"), "orthogonal, identity, gaussian"),
        (lambda p: set_gate_bias(CELLS["rnn"], p, "f", jnp.ones(())), "no gate 'f'; it has h"),
        (lambda p: chrono_biases(CELLS["rnn"], p, jax.random.key(0), longest=9), "no memory gate"),
        (lambda p: chrono_biases(CELLS["lstm"], p, jax.random.key(0), longest=2), "at least 3 steps"),
    ],
)
def test_what_a_cell_cannot_have_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(_params("rnn"))
