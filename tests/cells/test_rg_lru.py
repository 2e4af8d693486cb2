import jax
import numpy as np
import oracle
from oracle import HIDDEN, sigmoid

from rnnlab.cells import CELLS


def test_values_and_gradients_are_those_of_the_formula():
    def step(params, state, x):
        r, i, read = np.split(x @ params["W"] + params["b"], 3, axis=1)
        decay = sigmoid(params["decay_logit"]) ** (8 * sigmoid(r))
        return (decay * state[0] + np.sqrt(1 - decay**2) * sigmoid(i) * read,)

    oracle.assert_follows_formula("rg_lru", step)


def test_decays_start_between_0_9_and_0_999():
    params = CELLS["rg_lru"].init(jax.random.key(0), HIDDEN, 2000)
    decays = sigmoid(np.asarray(params["decay_logit"], np.float64)) ** 8
    assert 0.9 <= decays.min() < 0.901
    assert 0.998 < decays.max() <= 0.9991
