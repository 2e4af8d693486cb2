import jax
import numpy as np
import oracle
from oracle import HIDDEN

from rnnlab.cells import CELLS


def _drive(params, x):
    pre = x @ params["W"] + params["b"]
    return pre[:, :HIDDEN] + 1j * pre[:, HIDDEN:]


def test_lru_is_a_complex_recurrence():
    def step(params, state, x):
        decay = np.exp(-np.exp(params["nu"]) + 1j * np.exp(params["theta"]))
        gamma = params["gain"] * np.sqrt(1 - np.abs(decay) ** 2)
        after = decay * (state[0] + 1j * state[1]) + gamma * _drive(params, x)
        return after.real, after.imag

    oracle.assert_follows_formula("lru", step)


def test_s5_holds_the_input_over_a_step_of_its_own():
    def step(params, state, x):
        rate = -np.exp(params["decay"]) + 1j * params["frequency"]
        decay = np.exp(rate * np.exp(params["step"]))
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
