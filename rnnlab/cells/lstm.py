"""Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

Gates in the order i, f, g, o (input, forget, candidate, output), as in torch and cuDNN:

    c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
    h_t = sigmoid(o) * tanh(c_t)

The forget gate's bias starts at 1 (Jozefowicz, Zaremba and Sutskever 2015).
"""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def _combine(params: Params, state: State, a: Array, r: Array) -> State:
    _, c = state
    i, f, g, o = jnp.split(a + r, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


LSTM = Cell(
    name="lstm",
    gates=("i", "f", "g", "o"),
    combine=_combine,
    state_names=("h", "c"),
    gate_bias={"f": 1.0},
    memory_gates={"f": 1, "i": -1},
)
