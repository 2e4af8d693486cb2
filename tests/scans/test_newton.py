import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import CELLS, Cell, find_cell
from rnnlab.scans import Newton, newton_scan, scan
from tests import nightly

TIME, BATCH, HIDDEN = 64, 2, 6
_scan = jax.jit(scan, static_argnames=("cell", "method", "reverse"))
_newton = jax.jit(newton_scan, static_argnames=("cell", "newton", "reverse"))


def _case(name, gain=1.0, time=TIME, hidden=HIDDEN, seed=0):
    cell = find_cell(name) if isinstance(name, str) else name
    keys = jax.random.split(jax.random.key(seed), 3)
    params = cell.init(keys[0], 3, hidden)
    if "R" in params:
        fan_in = hidden if cell.recurrence == "dense" else hidden // cell.heads(hidden)
        params["R"] = gain * jax.random.normal(keys[1], params["R"].shape) / fan_in**0.5
    return cell, params, jax.random.normal(keys[2], (time, BATCH, 3))


@pytest.mark.parametrize(
    ("name", "jacobian"),
    [
        ("lstm/heads2", "full"),
        *nightly.only(("gru_reset_before", "diagonal"), ("gru_reset_before", "full"), ("lstm/heads2", "diagonal")),
        *nightly.only(*itertools.product(("rnn", "gru", "lstm/diagonal"), ("full", "diagonal"))),
    ],
)
def test_where_it_converges_values_and_gradients_are_those_of_the_sequential_scan(name, jacobian):
    cell, params, inputs = _case(name, 0.7)
    outputs, final, report = _newton(cell, params, inputs, newton=Newton(jacobian=jacobian))
    assert report.converged
    assert 1 < report.iterations < TIME / 2
    oracle.assert_close((outputs, final), _scan(cell, params, inputs))

    def loss(params, inputs, method):
        return oracle.weighted(scan(cell, params, inputs, method=method))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    found, wanted = gradient(params, inputs, Newton(jacobian=jacobian)), gradient(params, inputs, "sequential")
    size = max(float(jnp.abs(v).max()) for v in jax.tree.leaves(wanted))
    oracle.assert_close(*jax.tree.map(lambda v: v / size, (found, wanted)))


def test_full_newton_is_quadratic_and_the_diagonal_one_linear():
    cell, params, inputs = _case("gru")
    counts = {
        j: int(_newton(cell, params, inputs, newton=Newton(jacobian=j))[2].iterations) for j in ("full", "diagonal")
    }
    assert counts["full"] <= 6 < counts["diagonal"]


@pytest.mark.nightly
def test_a_diagonal_r_makes_both_jacobians_the_same():
    cell, params, inputs = _case("lstm/diagonal")
    reports = [_newton(cell, params, inputs, newton=Newton(jacobian=j))[2] for j in ("full", "diagonal")]
    assert reports[0].iterations == reports[1].iterations
    oracle.assert_close(reports[0].states, reports[1].states)


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
@pytest.mark.parametrize("time", [*nightly.only(20), 60, *nightly.only(200)])
def test_a_chaotic_network_is_never_wrong_and_called_converged(time, jacobian):
    refused = 0
    for seed in range(4):
        cell, params, inputs = _case("rnn", 1.5, time, 24, seed)
        params["W"] = 0.1 * params["W"]
        wanted, _ = _scan(cell, params, inputs, method="sequential")
        outputs, _, report = _newton(cell, params, inputs, newton=Newton(jacobian=jacobian, iterations=250))
        if report.converged:
            np.testing.assert_allclose(outputs, wanted, atol=1e-5)
            assert np.abs(outputs - wanted).max() <= report.error
        else:
            np.testing.assert_array_equal(outputs, wanted)
            refused += 1
    assert time < 200 or refused


def test_a_limit_of_iterations_ends_in_the_sequential_scan_and_says_so():
    cell, params, inputs = _case("rnn")
    outputs, final, report = _newton(cell, params, inputs, newton=Newton(iterations=2))
    assert not report.converged
    assert report.iterations == 2
    oracle.assert_close((outputs, final), _scan(cell, params, inputs))


def test_a_first_guess_at_the_solution_needs_one_iteration():
    cell, params, inputs = _case("gru")
    _, _, report = _newton(cell, params, inputs)
    assert report.iterations > 2
    moved = params | {"b": params["b"] + 1e-3}
    _, _, near = _newton(cell, moved, inputs, guess=report.states)
    _, _, far = _newton(cell, moved, inputs)
    assert near.iterations < far.iterations
    assert _newton(cell, params, inputs, guess=report.states)[2].iterations == 1


@pytest.mark.parametrize("damping", [0.2, 1.0])
def test_damping_changes_how_it_converges_and_not_where(damping):
    cell, params, inputs = _case("gru", 0.5)
    outputs, _, report = _newton(cell, params, inputs, newton=Newton(damping=damping))
    assert report.converged
    assert report.iterations > _newton(cell, params, inputs)[2].iterations
    oracle.assert_close(outputs, _scan(cell, params, inputs)[0])


@pytest.mark.parametrize("reverse", [False, True])
def test_chunks_lengths_segment_starts_and_noise_change_nothing(reverse):
    cell, params, inputs = _case("lstm")
    rng = np.random.default_rng(0)
    options = {
        "seq_lengths": np.array([TIME, 31]),
        "segment_starts": rng.random((TIME, BATCH)) < 0.1,
        "recurrent_mask": jnp.asarray(2.0 * (rng.random((BATCH, HIDDEN)) < 0.5), jnp.float32),
        "zoneout_mask": tuple(jnp.asarray(rng.random((TIME, BATCH, HIDDEN)) < 0.2) for _ in range(2)),
        "reverse": reverse,
    }
    outputs, final, report = _newton(cell, params, inputs, newton=Newton(chunk=32), **options)
    assert report.converged
    oracle.assert_close((outputs, final), _scan(cell, params, inputs, **options))


def test_chunks_hold_a_small_part_of_the_memory():
    cell, params, inputs = _case("lstm", time=4096, hidden=8)

    def temporary(chunk):
        def loss(params):
            return scan(cell, params, inputs, method=Newton(jacobian="full", chunk=chunk))[0].sum()

        return jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporary(128) < temporary(None) / 4


def test_bfloat16_weights_do_not_stall():
    cell, params, inputs = _case("gru")
    narrow = {name: value.astype(jnp.bfloat16) for name, value in params.items()}
    outputs, _, report = _newton(cell, narrow, inputs)
    assert report.converged
    np.testing.assert_allclose(outputs, _scan(cell, narrow, inputs)[0], atol=1e-5)


def test_a_new_cell_has_every_method_from_its_combine_alone():
    def combine(params, state, a, r):
        h, trace = state
        trace = params["decay"] * trace + jnp.tanh(a + r)
        return h + 0.5 * (jax.nn.sigmoid(trace) - h), trace

    mine = Cell(name="mine", gates=("g",), combine=combine, state_names=("h", "trace"), unit_params={"decay": 0.5})
    cell, params, inputs = _case(mine, 0.5)
    outputs, _, report = _newton(cell, params, inputs)
    assert report.converged
    oracle.assert_close(outputs, _scan(cell, params, inputs, method="reference")[0])


@pytest.mark.nightly
def test_training_by_newton_ends_where_sequential_training_ends():
    """The adding problem (Hochreiter and Schmidhuber 1997), same start, same data: loss curves within 1e-3."""
    cell = CELLS["gru"]
    params = {"cell": cell.init(jax.random.key(0), 2, 16), "read": jnp.zeros(16)}

    def loss(params, inputs, sums, method):
        _, (last,) = scan(cell, params["cell"], inputs, method=method)
        return ((last @ params["read"] - sums) ** 2).mean()

    @functools.partial(jax.jit, static_argnums=2)
    def step(params, key, method):
        numbers = jax.random.uniform(key, (30, 20))
        marks = (jnp.arange(30) == 3) | (jnp.arange(30) == 20)
        inputs = jnp.stack([numbers, jnp.broadcast_to(marks[:, None], numbers.shape)], axis=-1)
        value, slope = jax.value_and_grad(loss)(params, inputs, (numbers * marks[:, None]).sum(0), method)
        return jax.tree.map(lambda p, d: p - 0.05 * d, params, slope), value

    curves = {}
    for method in (Newton(jacobian="full"), Newton(jacobian="diagonal"), "sequential"):
        now, curve = params, []
        for key in jax.random.split(jax.random.key(1), 60):
            now, value = step(now, key, method)
            curve.append(float(value))
        curves[method] = curve
    assert curves["sequential"][-1] < 0.5 * curves["sequential"][0]
    for curve in curves.values():
        np.testing.assert_allclose(curve, curves["sequential"], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jacobian": "whole"}, "newton: unknown jacobian 'whole'; allowed: auto, full, diagonal"),
        ({"damping": 1.5}, "newton: damping must be in 0 to 1, not 1.5"),
        ({"tolerance": 0.0}, "newton: tolerance must be above 0"),
        ({"iterations": 0}, "newton: iterations must be at least 1"),
        ({"chunk": 0}, "newton: chunk must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Newton(**options)


def test_a_guess_of_another_shape_is_refused():
    cell, params, inputs = _case("gru")
    with pytest.raises(ValueError, match=r"guess must be arrays of shapes \[\(64, 2, 6\)\], not"):
        newton_scan(cell, params, inputs, guess=(inputs,))
