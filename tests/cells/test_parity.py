"""Every cell against the layers of torch.nn (golden arrays) and of flax.linen, values and gradients."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, weighted

from rnnlab.cells import CELLS
from rnnlab.models.recurrent import Stack
from rnnlab.models.weights import from_linen, from_torch
from rnnlab.scans import Newton, scan
from tests import nightly

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "torch.npz")


def _golden(name: str) -> dict[str, np.ndarray]:
    return {key.partition("/")[2]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{name}/")}


def _torch_params(name: str, golden: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    stack = Stack(name, 4, 5, rngs=nnx.Rngs(0))
    (recurrent,) = stack.layers[0]
    for param, value in recurrent.params.items():
        recurrent.params[param] = nnx.Param(value[...].astype(jnp.float64))
    from_torch(stack, {n: v for n, v in golden.items() if n.endswith("_l0")})
    return {n: value[...] for n, value in recurrent.params.items()}


@pytest.mark.parametrize("method", ["sequential", *nightly.only("reference", Newton(tolerance=1e-12))], ids=str)
@pytest.mark.parametrize("name", ["rnn", "rnn_relu", "gru", "lstm"])
def test_torch_layer(name, method):
    golden, cell = _golden(name), CELLS[name]
    entries = range(len(cell.state_names))
    loss_weights = [golden[f"loss_weight_{i}"] for i in range(1 + len(entries))]
    with jax.enable_x64(True):
        params = _torch_params(name, golden)
        state = tuple(jnp.asarray(golden[f"state_{i}"]) for i in entries)

        def loss(params, inputs):
            outputs, final = scan(cell, params, inputs, state=state, method=method)
            return sum((w * r).sum() for w, r in zip(loss_weights, (outputs, *final), strict=True))

        inputs = jnp.asarray(golden["inputs"])
        outputs, final = scan(cell, params, inputs, state=state, method=method)
        d_params, d_inputs = jax.grad(loss, argnums=(0, 1))(params, inputs)
    assert_close(outputs, golden["outputs"], 1e-10)
    assert_close(list(final), [golden[f"final_{i}"] for i in entries], 1e-10)
    assert_close(d_inputs, golden["inputs_gradient"], 1e-10)
    assert_close(d_params["W"], golden["weight_ih_l0_gradient"].T, 1e-10)
    assert_close(d_params["R"], golden["weight_hh_l0_gradient"].T, 1e-10)
    assert_close(d_params["b"], golden["bias_ih_l0_gradient"], 1e-10)
    if name == "gru":
        assert_close(d_params["b_n"], np.split(golden["bias_hh_l0_gradient"], 3)[2], 1e-10)


FLAX = {
    "rnn": lambda: nn.SimpleCell(5, kernel_init=nn.initializers.normal(0.5)),
    "rnn_relu": lambda: nn.SimpleCell(5, activation_fn=nn.relu),
    "gru": lambda: nn.GRUCell(5, bias_init=nn.initializers.normal()),
    "lstm": lambda: nn.OptimizedLSTMCell(5, bias_init=nn.initializers.normal()),
}


@pytest.mark.parametrize("name", FLAX)
def test_flax_layer(name):
    cell = CELLS[name]
    layer = nn.RNN(FLAX[name](), time_major=True, return_carry=True)
    inputs = jax.random.normal(jax.random.key(0), (7, 3, 4))
    weights = layer.init(jax.random.key(1), inputs)["params"]["cell"]

    def theirs(weights, inputs):
        carry, outputs = layer.apply({"params": {"cell": weights}}, inputs)
        return outputs, (carry[1], carry[0]) if name == "lstm" else (carry,)  # flax has c first

    def ours(params, inputs):
        return scan(cell, params, inputs)

    params = from_linen(cell, weights)
    assert_close(ours(params, inputs), theirs(weights, inputs))
    d_theirs = jax.grad(lambda *args: weighted(theirs(*args)), argnums=(0, 1))(weights, inputs)
    d_ours = jax.grad(lambda *args: weighted(ours(*args)), argnums=(0, 1))(params, inputs)
    assert_close(d_ours, (from_linen(cell, d_theirs[0]), d_theirs[1]))
