import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from flax import nnx
from oracle import assert_close

from rnnlab.cells import CELLS, Cell, structured
from rnnlab.cells.time_steps import timed
from rnnlab.models import ManyToMany, ManyToOne
from rnnlab.models.embedding import Lookup
from rnnlab.models.recurrent import Recurrent, Stack
from rnnlab.scans import methods_of, newton_scan, scan
from rnnlab.testing import measure_promise
from tests import nightly

TIME, BATCH, IN, HIDDEN = 7, 3, 4, 5
_scan = jax.jit(scan, static_argnames=("cell", "method", "reverse"))
CONTINUOUS = ("lru", "s5")
rng = np.random.default_rng(0)
INPUTS = jnp.asarray(rng.normal(size=(TIME, BATCH, IN)), jnp.float32)
DT = jnp.asarray(rng.uniform(0.1, 3.0, size=(TIME, BATCH)), jnp.float32)
LENGTHS = jnp.array([7, 4, 1])


def _params(name):
    return CELLS[name].init(jax.random.key(1), IN, HIDDEN)


def _leaky(params, state, a, r, dt=1.0):
    """A leaky integrator of tanh with a dense recurrence: a user's nonlinear cell."""
    left = jnp.exp(-dt * jnp.exp(params["rate"]))
    return (left * state[0] + (1 - left) * jnp.tanh(a + r),)


LEAKY = Cell(name="leaky", gates=("z",), combine=_leaky, unit_params={"rate": -0.5}, continuous=True)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_steps_of_length_1_are_the_scan_without_lengths(name):
    ones = jnp.ones((TIME, BATCH))
    for reverse in (False, True):
        options = {"seq_lengths": LENGTHS, "reverse": reverse}
        assert_close(
            _scan(CELLS[name], _params(name), INPUTS, dt=ones, **options),
            _scan(CELLS[name], _params(name), INPUTS, **options),
            1e-6,
        )


def test_s5_is_the_solution_of_its_differential_equation_while_the_input_is_held():
    """d x / d t = A x + B u as one real matrix of all units and inputs, by its exponential in float64."""
    params = _params("s5")
    own = {key: np.asarray(value, np.float64) for key, value in params.items()}
    scale = np.exp(own["step"])
    decay, frequency = np.diag(-np.exp(own["decay"]) * scale), np.diag(own["frequency"] * scale)
    system = np.zeros((2 * HIDDEN + IN, 2 * HIDDEN + IN))
    system[: 2 * HIDDEN, : 2 * HIDDEN] = np.block([[decay, -frequency], [frequency, decay]])
    system[: 2 * HIDDEN, 2 * HIDDEN :] = np.tile(scale, 2)[:, None] * own["W"].T
    found, _ = _scan(CELLS["s5"], params, INPUTS, dt=DT)
    for row in range(BATCH):
        state = np.zeros(2 * HIDDEN)
        for time in range(TIME):
            held = np.concatenate([state, INPUTS[time, row]])
            state = (scipy.linalg.expm(float(DT[time, row]) * system) @ held)[: 2 * HIDDEN]
            np.testing.assert_allclose(found[time, row], state[:HIDDEN], rtol=1e-4, atol=1e-5)


def test_lru_decays_to_the_power_of_the_time_and_its_gain_with_it():
    params = _params("lru")
    own = {key: np.asarray(value, np.float64) for key, value in params.items()}
    log_decay = -np.exp(own["nu"]) + 1j * np.exp(own["theta"])
    found, _ = _scan(CELLS["lru"], params, INPUTS, dt=DT)
    state = np.zeros((BATCH, HIDDEN), complex)
    for time in range(TIME):
        drive = np.asarray(INPUTS[time], np.float64) @ own["W"]
        power = np.exp(np.asarray(DT[time], np.float64)[:, None] * log_decay)
        gamma = own["gain"] * np.sqrt(1 - np.abs(power) ** 2)
        state = power * state + gamma * (drive[:, :HIDDEN] + 1j * drive[:, HIDDEN:])
        np.testing.assert_allclose(found[time], state.real, rtol=1e-4, atol=1e-5)


def test_a_step_left_out_is_one_of_length_2_whose_input_is_held():
    every = jnp.repeat(INPUTS, 2, axis=0)
    whole, _ = _scan(CELLS["s5"], _params("s5"), every)
    half, _ = _scan(CELLS["s5"], _params("s5"), INPUTS, dt=jnp.full((TIME, BATCH), 2.0))
    assert_close(half, whole[1::2])


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("length", [0.0, -1.0])
def test_a_step_of_no_time_changes_nothing(name, length):
    _, before = _scan(CELLS[name], _params(name), INPUTS[:3])
    dt = jnp.ones((4, BATCH)).at[3].set(length)
    gradient = jax.grad(lambda dt: _scan(CELLS[name], _params(name), INPUTS[:4], dt=dt)[0].sum())(dt)
    assert_close(_scan(CELLS[name], _params(name), INPUTS[:4], dt=dt)[1], before, 1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("cell", [CELLS["lru"], *nightly.only(LEAKY, CELLS["s5"])], ids=lambda cell: cell.name)
def test_every_method_agrees_and_padding_is_never_read(cell):
    params = cell.init(jax.random.key(1), IN, HIDDEN)
    padding = jnp.arange(TIME)[:, None] >= LENGTHS

    def loss(params, inputs, dt, method):
        outputs, final = _scan(cell, params, inputs, dt=dt, seq_lengths=LENGTHS, method=method, reverse=True)
        return (jnp.cos(outputs) * outputs).sum() + sum((entry**2).sum() for entry in final)

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)), static_argnums=3)
    wanted = run(params, INPUTS, DT, "reference")
    assert all(np.any(leaf) for leaf in jax.tree.leaves(wanted))
    for method in methods_of(cell):
        assert_close(run(params, INPUTS, jnp.where(padding, jnp.nan, DT), method), wanted)
    found = newton_scan(cell, params, INPUTS, dt=DT, seq_lengths=LENGTHS)[:2]
    assert_close(found, _scan(cell, params, INPUTS, dt=DT, seq_lengths=LENGTHS))


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["lru", "s5"])
def test_gates_and_times_that_saturate_leave_values_and_gradients_finite_and_right(name):
    found = measure_promise(timed(CELLS[name]), "saturation leaves all finite and right")
    assert found.excess <= 1, found.what


@pytest.mark.parametrize("recurrence", ["heads5", "diagonal", "none"])
def test_each_structure_of_r_goes_with_lengths_of_steps(recurrence):
    cell = structured(LEAKY, recurrence)
    params = cell.init(jax.random.key(1), IN, HIDDEN)
    assert_close(_scan(cell, params, INPUTS, dt=jnp.ones((TIME, BATCH))), _scan(cell, params, INPUTS))


def test_a_cell_that_reads_r_itself_finds_it_as_it_was():
    def combine(params, state, a, r, dt=1.0):
        return (state[0] + dt * jnp.tanh(a + state[0] @ params["R"] + params["b"]),)

    cell = Cell(name="own", gates=("z",), combine=combine, reads_params=("R", "b"), continuous=True)
    params = cell.init(jax.random.key(1), IN, HIDDEN)
    params["b"] += jnp.arange(HIDDEN)
    assert_close(_scan(cell, params, INPUTS, dt=jnp.ones((TIME, BATCH))), _scan(cell, params, INPUTS))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_backwards_the_time_is_that_to_the_next_step_and_at_the_end_that_of_the_first(name):
    """A row that is turned around, with the times between its steps, is read forwards."""
    starts = jnp.zeros((TIME, BATCH), bool).at[3, 0].set(True)
    outputs, _ = _scan(
        CELLS[name], _params(name), INPUTS, dt=DT, seq_lengths=LENGTHS, segment_starts=starts, reverse=True
    )
    for row, begin, end in ((0, 0, 3), (0, 3, 7), (1, 0, 4), (2, 0, 1)):
        own = slice(begin, end), slice(row, row + 1)
        times = np.roll(np.asarray(DT[own])[::-1], 1, axis=0)
        wanted, _ = _scan(CELLS[name], _params(name), INPUTS[own][::-1], dt=times)
        assert_close(outputs[own], wanted[::-1])


def test_ids_and_lookups_are_read_as_their_rows_over_lengths_of_steps():
    ids = jnp.asarray(rng.integers(0, IN, (TIME, BATCH)))
    layer = Recurrent("s5", IN, HIDDEN, rngs=nnx.Rngs(0))
    wanted = layer(jax.nn.one_hot(ids, IN), dt=DT)
    assert_close(layer(ids, dt=DT), wanted)
    assert_close(layer(Lookup(ids, jnp.eye(IN)), dt=DT), wanted)
    unknown = ids.at[5, 1].set(IN)
    assert np.isnan(layer(unknown, dt=DT)[0]).all()
    assert_close(layer(unknown, dt=DT, seq_lengths=LENGTHS), layer(ids, dt=DT, seq_lengths=LENGTHS))


@pytest.mark.parametrize("block", ["plain", "residual"])
def test_every_layer_of_a_stack_has_the_lengths_of_steps(block):
    stack = Stack("lru", IN, IN, layers=2, block=block, zoneout=0.2, rngs=nnx.Rngs(0))
    (first,), (second,) = stack.layers
    below = first(INPUTS, dt=DT)[0] + (INPUTS if block == "residual" else 0)
    assert_close(stack(INPUTS, dt=DT)[0], second(below, dt=DT)[0] + (below if block == "residual" else 0))


def test_models_pass_the_lengths_of_steps_on():
    """Also to pre-norm blocks and both directions; what stands in the padding changes nothing."""
    for kind in (ManyToOne, ManyToMany):
        model = kind(IN, 2, cell="s5", features=3, block="prenorm", bidirectional=True, rngs=nnx.Rngs(0))
        answers = model(INPUTS, LENGTHS, dt=DT)
        assert_close(model(INPUTS, LENGTHS, dt=DT.at[4:, 1].set(jnp.nan)), answers)
        assert not np.allclose(model(INPUTS, LENGTHS), answers)
        assert_close(model(INPUTS, LENGTHS, dt=jnp.ones((TIME, BATCH))), model(INPUTS, LENGTHS))


def test_what_takes_no_lengths_of_steps_is_refused():
    with pytest.raises(ValueError, match="dt: cell 'gru' is not in continuous time; allowed: lru, s5"):
        _scan(CELLS["gru"], CELLS["gru"].init(jax.random.key(0), IN, HIDDEN), INPUTS, dt=DT)
    with pytest.raises(ValueError, match=r"dt must be \[time, batch\] = \(7, 3\), not of shape \(7,\)"):
        _scan(CELLS["s5"], _params("s5"), INPUTS, dt=DT[:, 0])
    with pytest.raises(ValueError, match="inputs have 3 features, but W of cell 's5' takes 4"):
        _scan(CELLS["s5"], _params("s5"), INPUTS[..., :3], dt=DT)
    with pytest.raises(ValueError, match="dt: cell 'min_gru' is not in continuous time"):
        timed(dataclasses.replace(CELLS["min_gru"]))
