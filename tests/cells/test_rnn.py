import numpy as np
import oracle
import pytest


@pytest.mark.parametrize(
    ("name", "phi"), [("rnn", np.tanh), ("rnn_relu", lambda x: np.maximum(x, 0))], ids=["tanh", "relu"]
)
def test_values_and_gradients_are_those_of_the_formula(name, phi):
    def step(params, state, x):
        return (phi(x @ params["W"] + state[0] @ params["R"] + params["b"]),)

    oracle.assert_follows_formula(name, step)
