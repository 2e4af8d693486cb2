import jax
import numpy as np
import oracle
from oracle import HIDDEN, sigmoid

from rnnlab.cells import CELLS


def test_values_and_gradients_are_those_of_the_formula():
    def step(params, state, x):
        h, c = state
        pre = x @ params["W"] + h @ params["R"] + params["b"]
        i, f, g, o = (pre[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    oracle.assert_follows_formula("lstm", step)


def test_only_the_forget_gate_starts_with_a_bias_and_it_is_one():
    bias = CELLS["lstm"].init(jax.random.key(0), 3, HIDDEN)["b"]
    np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN))
