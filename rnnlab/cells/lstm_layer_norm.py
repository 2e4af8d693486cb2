"""The layer-normalised LSTM (Ba, Kiros and Hinton 2016, arXiv 1607.06450, equations 20 to 22).

Gates in the order i, f, g, o, as in `rnnlab.cells.lstm`:

    i, f, g, o = LN(h_{t-1} R; gain_r) + LN(x_t W; gain_a) + b
    c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
    h_t = sigmoid(o) * tanh(LN(c_t; gain_c) + shift_c)

LN(z; gain) = gain * (z - mean) / sqrt(variance + 1e-5), over all four gates of a sequence together, and over the units
of c. The paper's two shifts of the gates are one here, `b`. The gains and the forget gate's bias start at 1.
"""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State

_GATES = ("i", "f", "g", "o")
_EPSILON = 1e-5


def _normalise(z: Array) -> Array:
    centred = z - z.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + _EPSILON)


def _gain(params: Params, projection: str) -> Array:
    return jnp.concatenate([params[f"gain_{projection}_{gate}"] for gate in _GATES])


def _combine(params: Params, state: State, a: Array, r: Array) -> State:
    _, c = state
    gates = _gain(params, "r") * _normalise(r) + _gain(params, "a") * _normalise(a - params["b"]) + params["b"]
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(params["gain_c"] * _normalise(c) + params["shift_c"]), c


LSTM_LAYER_NORM = Cell(
    name="lstm_layer_norm",
    gates=_GATES,
    combine=_combine,
    state_names=("h", "c"),
    gate_bias={"f": 1.0},
    memory_gates={"f": 1, "i": -1},
    unit_params={f"gain_{p}_{gate}": 1.0 for p in "ar" for gate in _GATES} | {"gain_c": 1.0, "shift_c": 0.0},
    split_gates=_GATES,
    reads_params=("b",),
    mixes_units=True,
)
