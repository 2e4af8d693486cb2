import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
from oracle import HIDDEN, sigmoid

from rnnlab.cells import CELLS
from rnnlab.scans import methods_of, scan


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


def test_from_the_start_it_is_the_form_without_a_stabiliser_however_far_a_gate_is_open_or_shut():
    params, inputs, _ = oracle.example("slstm")

    def outputs(params):
        c = n = h = np.zeros((oracle.BATCH, HIDDEN))
        for x in inputs:
            i, f, z, o = _split(params, x, h)
            c, n = sigmoid(f) * c + np.exp(i) * np.tanh(z), sigmoid(f) * n + np.exp(i)
            h = sigmoid(o) * c / n
            yield h

    @functools.partial(jax.jit, static_argnames="method")
    @functools.partial(jax.value_and_grad, has_aux=True)
    def run(params, method):
        found, _ = scan(CELLS["slstm"], params, jnp.asarray(inputs, jnp.float32), method=method)
        return oracle.weighted([*found]), found

    for size in (0.5, 100):
        params["b"] = size * np.resize([1.0, -1, -1, 0, 1], params["b"].shape)
        with jax.enable_x64(True):
            (slopes,) = oracle.numeric_gradient(lambda moved: oracle.weighted([*outputs(moved)]), params)
        on_device = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
        for method in methods_of(CELLS["slstm"]):
            (_, found), gradients = run(on_device, method=method)
            np.testing.assert_allclose(found, [*outputs(params)], rtol=1e-4, atol=1e-5)
            oracle.assert_close(gradients, slopes, 1e-4)
