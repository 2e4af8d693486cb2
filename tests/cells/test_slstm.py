import jax.numpy as jnp
import numpy as np
import oracle
from oracle import HIDDEN, sigmoid

from rnnlab.cells import CELLS
from rnnlab.scan import scan


def _split(params, x, h):
    pre = x @ params["W"] + h @ params["R"] + params["b"]
    return [pre[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4)]


def test_values_and_gradients_are_those_of_the_formula():
    def step(params, state, x):
        h, c, n, m = state
        i, f, z, o = _split(params, x, h)
        kept = np.log(sigmoid(f)) + m
        m = np.maximum(kept, i)
        c, n = (np.exp(kept - m) * old + np.exp(i - m) * new for old, new in ((c, np.tanh(z)), (n, 1)))
        return sigmoid(o) * c / np.maximum(n, 1), c, n, m

    oracle.assert_follows_formula("slstm", step)


def test_from_the_start_it_is_the_form_without_a_stabiliser():
    params, inputs, _ = oracle.example("slstm")
    c = n = h = np.zeros((oracle.BATCH, HIDDEN))
    wanted = []
    for x in inputs:
        i, f, z, o = _split(params, x, h)
        c, n = sigmoid(f) * c + np.exp(i) * np.tanh(z), sigmoid(f) * n + np.exp(i)
        h = sigmoid(o) * c / n
        wanted.append(h)
    on_device = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    outputs, _ = scan(CELLS["slstm"], on_device, jnp.asarray(inputs, jnp.float32))
    np.testing.assert_allclose(outputs, np.stack(wanted), rtol=1e-4, atol=1e-6)


def test_gates_that_would_overflow_do_not():
    params, inputs, _ = oracle.example("slstm")
    on_device = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    outputs, final = scan(CELLS["slstm"], on_device, 300 * jnp.asarray(inputs, jnp.float32))
    assert np.isfinite(outputs).all()
    assert all(np.isfinite(entry).all() for entry in final)
