import fractions
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import LINEAR, assert_close, example, linear_params

from rnnlab.cells import CELLS
from rnnlab.gradient_flow import lag_jacobians, lag_norms
from rnnlab.scans import scan
from tests import nightly

_scan = jax.jit(scan, static_argnames="cell")


@functools.partial(jax.jit, static_argnames="cell")
def _jacobian(cell, params, inputs, state):
    """The last state by the first."""
    return jax.jacrev(lambda state: scan(cell, params, inputs, state=state)[1])(state)


@pytest.mark.parametrize("name", nightly.cells("slstm", "lru"))
def test_short_lags_agree_with_autodiff_through_the_scan(name):
    cell = CELLS[name]
    with jax.enable_x64(True):
        params, inputs, state = jax.tree.map(jnp.asarray, example(name))
        time, batch, _ = inputs.shape
        measured = lag_jacobians(cell, params, inputs, lags=[0, 1, time], state=state)
        rescaled = lag_norms(cell, params, inputs, lags=[0, 1, time], state=state)
        for index, lag in enumerate(measured.lags):
            _, middle = _scan(cell, params, inputs[: time - lag], state=state)
            whole = _jacobian(cell, params, inputs[time - lag :], middle)
            for row in range(batch):
                blocks = [[np.asarray(block[row, :, row]) for block in entry] for entry in whole]
                values = np.linalg.svd(np.block(blocks), compute_uv=False)
                found = measured.log_singular_values[index, row]
                seen = values > 1e-12 * values[0]
                assert_close(np.exp(found[: seen.sum()]), values[seen])
                norms = [[np.linalg.norm(block, 2) for block in entry] for entry in blocks]
                assert_close(np.exp(measured.log_norms[index, row]), np.array(norms))
                assert_close(np.exp(rescaled[index, row]), np.array(norms))


@pytest.mark.parametrize("x64", [False, True])
def test_a_normal_matrix_to_the_power_of_5000_keeps_its_whole_spectrum(x64):
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    factors = np.concatenate([np.geomspace(1.3, 0.2, 10), [1.0, 0.5]])
    with jax.enable_x64(x64):
        params = jax.tree.map(lambda v: v.astype(float), linear_params(rotation * factors @ rotation.T))
        measured = lag_jacobians(LINEAR, params, jnp.zeros((5000, 2, 1)), lags=[1, 100, 5000])
        rescaled = lag_norms(LINEAR, params, jnp.zeros((5000, 2, 1)), lags=[1, 100, 5000])
    np.testing.assert_allclose(rescaled, measured.log_norms, rtol=1e-4, atol=1e-4)
    for index, lag in enumerate([1, 100, 5000]):
        wanted = lag * np.sort(np.log(factors))[::-1]
        found = measured.log_singular_values[index]
        np.testing.assert_allclose(found, np.stack([wanted, wanted]), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(measured.log_norms[index, :, 0, 0], wanted[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(measured.log_condition[index], wanted[0] - wanted[-1], rtol=1e-4, atol=1e-4)


def test_the_spectrum_of_a_long_product_is_that_of_exact_arithmetic():
    integers = np.random.default_rng(1).integers(-900, 900, (4, 4)).astype(object)
    with jax.enable_x64(True):
        params = linear_params((integers / 1000).astype(float))
        measured = lag_jacobians(LINEAR, params, jnp.zeros((300, 1, 1)), lags=[3, 60, 300])
    for index, lag in enumerate([3, 60, 300]):
        wanted = _exact_logs(integers, lag) - lag * np.log(1000)
        np.testing.assert_allclose(measured.log_singular_values[index, 0], wanted, atol=0.008)


def _exact_logs(integers, power):
    """Log singular values of a power of a matrix: the norm of its k-th compound is the product of the first k."""
    sums = [0.0]
    for order in range(1, len(integers) + 1):
        subsets = list(itertools.combinations(range(len(integers)), order))
        minors = [[_determinant(integers[np.ix_(rows, columns)]) for columns in subsets] for rows in subsets]
        whole = functools.reduce(np.dot, [np.array(minors, object)] * power)
        bits = max(int(abs(entry)).bit_length() for entry in whole.flat)
        scaled = np.vectorize(lambda entry, bits=bits: float(fractions.Fraction(entry, 2**bits)), otypes=[float])(whole)
        sums.append(np.log(np.linalg.norm(scaled, 2)) + bits * np.log(2))
    return np.diff(sums)


def _determinant(m):
    if len(m) == 1:
        return m[0, 0]
    minors = (np.delete(m[1:], column, axis=1) for column in range(len(m)))
    return sum((-1) ** column * m[0, column] * _determinant(minor) for column, minor in enumerate(minors))


@pytest.mark.parametrize("name", nightly.cells("slstm", "lru"))
def test_5000_steps_back_every_number_is_finite(name):
    cell = CELLS[name]
    params = cell.init(jax.random.key(0), 3, 8)
    params |= {"R": 3 * params["R"]} if "R" in params else {}  # far from the edge of chaos
    inputs = jax.random.normal(jax.random.key(1), (5000, 2, 3))
    measured = lag_jacobians(cell, params, inputs, lags=[0, 10, 5000])
    assert_close(measured.log_singular_values[0], np.zeros_like(measured.log_singular_values[0]))
    for logs in (measured.log_singular_values, measured.log_norms[1:]):
        # Units at rest pass nothing on, nor does a stabiliser whose exponent was passed by another: log 0.
        dead = name in ("rnn_relu", "slstm")
        assert (np.isneginf(logs) | np.isfinite(logs)).all() if dead else np.isfinite(logs).all()
    assert (measured.log_singular_values[..., :-1] >= measured.log_singular_values[..., 1:]).all()


@pytest.mark.parametrize("lags", [[], [1, 1], [2, 1], [-1], [0, 6]])
def test_lags_that_do_not_grow_within_the_time_are_refused(lags):
    with pytest.raises(ValueError, match="lags must be ascending and in 0 to 5"):
        lag_jacobians(LINEAR, linear_params(np.eye(2)), jnp.zeros((5, 1, 1)), lags=lags)
