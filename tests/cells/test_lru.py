import jax
import jax.numpy as jnp
import numpy as np
import oracle
from oracle import HIDDEN

from rnnlab.cells import CELLS
from rnnlab.scans import scan


def _drive(params, x):
    pre = x @ params["W"] + params["b"]
    return pre[:, :HIDDEN] + 1j * pre[:, HIDDEN:]


def _exp(exponent):
    return np.exp(np.minimum(exponent, 9))  # an angle beyond that has no digits in float32


def test_lru_is_a_complex_recurrence():
    def step(params, state, x):
        decay = np.exp(-_exp(params["nu"]) + 1j * _exp(params["theta"]))
        gamma = params["gain"] * np.sqrt(-np.expm1(-2 * _exp(params["nu"])))
        after = decay * (state[0] + 1j * state[1]) + gamma * _drive(params, x)
        return after.real, after.imag

    oracle.assert_follows_formula("lru", step)


def test_s5_holds_the_input_over_a_step_of_its_own():
    def step(params, state, x):
        rate = -_exp(params["decay"]) + 1j * params["frequency"]
        decay = np.exp(rate * _exp(params["step"]))
        after = decay * (state[0] + 1j * state[1]) + (decay - 1) / rate * _drive(params, x)
        return after.real, after.imag

    oracle.assert_follows_formula("s5", step)


def test_lru_starts_in_the_ring_and_s5_on_the_line_of_s4d():
    params = CELLS["lru"].init(jax.random.key(0), 2, 2000)
    squares = np.exp(-2 * np.exp(np.asarray(params["nu"])))
    assert 0.9 <= squares.min() < 0.905
    assert 0.995 < squares.max() <= 0.999
    phases = np.exp(np.asarray(params["theta"]))
    assert phases.min() < 0.1
    assert 6.2 < phases.max() <= 2 * np.pi + 1e-5
    params = CELLS["s5"].init(jax.random.key(0), 2, 2000)
    np.testing.assert_allclose(-np.exp(params["decay"]), -0.5)
    np.testing.assert_allclose(params["frequency"], np.pi * np.arange(2000), rtol=1e-6)
    steps = np.exp(np.asarray(params["step"]))
    assert 0.001 <= steps.min() < 0.0011 < 0.09 < steps.max() <= 0.1001


def test_s5_holds_a_short_step_and_a_frequency_of_0_to_the_last_digit():
    """(exp(z) - 1) / z, in float32, against its integral over the step in float64."""
    values = {
        "decay": [-100.0, -100, -8, -1, -1, 0],
        "frequency": [0.0, 1e-6, 0, 0, 3, 0],
        "step": [-7.0, -3, -7, -7, -9, 0],
    }
    params = {name: jnp.array(value, jnp.float32) for name, value in values.items()}
    params |= {"W": jnp.ones((1, 12)), "b": jnp.zeros(12)}
    found = scan(CELLS["s5"], params, jnp.ones((1, 1, 1)))[1]
    rate = -np.exp(np.float64(params["decay"])) + 1j * np.float64(params["frequency"])
    step = np.exp(np.float64(params["step"]))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    hold = step * (np.exp(rate * step * (nodes[:, None] + 1) / 2) * weights[:, None] / 2).sum(0) * (1 + 1j)
    np.testing.assert_allclose(found[0][0], hold.real, rtol=1e-6)
    np.testing.assert_allclose(found[1][0], hold.imag, rtol=1e-6)
