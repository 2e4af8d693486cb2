import numpy as np
import oracle
from oracle import HIDDEN, sigmoid

GATES = "ifgo"


def test_values_and_gradients_are_those_of_the_paper():
    """Equations 20 to 22 of Ba, Kiros and Hinton 2016."""

    def normalised(z, gain):
        return gain * (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)

    def step(params, state, x):
        h, c = state
        gain_a, gain_r = (np.concatenate([params[f"gain_{p}_{gate}"] for gate in GATES]) for p in "ar")
        pre = normalised(h @ params["R"], gain_r) + normalised(x @ params["W"], gain_a) + params["b"]
        i, f, g, o = (pre[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(normalised(c, params["gain_c"]) + params["shift_c"]), c

    oracle.assert_follows_formula("lstm_layer_norm", step)
