import numpy as np
import oracle
from oracle import HIDDEN, sigmoid


def _gates(params, h, x):
    a = x @ params["W"] + params["b"]
    recurrent = [params["R"][:, i * HIDDEN : (i + 1) * HIDDEN] for i in range(3)]
    a_r, a_z, a_n = (a[:, i * HIDDEN : (i + 1) * HIDDEN] for i in range(3))
    return sigmoid(a_r + h @ recurrent[0]), sigmoid(a_z + h @ recurrent[1]), a_n, recurrent[2]


def test_values_and_gradients_are_those_of_the_formula():
    def step(params, state, x):
        reset, update, a_n, r_n = _gates(params, state[0], x)
        candidate = np.tanh(a_n + reset * (state[0] @ r_n + params["b_n"]))
        return ((1 - update) * candidate + update * state[0],)

    oracle.assert_follows_formula("gru", step)


def test_reset_before_the_product_follows_cho_2014():
    def step(params, state, x):
        reset, update, a_n, r_n = _gates(params, state[0], x)
        candidate = np.tanh(a_n + (reset * state[0]) @ r_n)
        return ((1 - update) * candidate + update * state[0],)

    oracle.assert_follows_formula("gru_reset_before", step)
