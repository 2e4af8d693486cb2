"""The sLSTM (Beck et al. 2024, arXiv 2405.04517, equations 8 to 18): exponential gates, kept in range by a stabiliser.

Gates in the order i, f, z, o:

    m_t = max(log sigmoid(f) + m_{t-1}, i)                   the largest exponent so far
    c_t = exp(log sigmoid(f) + m_{t-1} - m_t) * c_{t-1} + exp(i - m_t) * tanh(z)
    n_t = exp(log sigmoid(f) + m_{t-1} - m_t) * n_{t-1} + exp(i - m_t)
    h_t = sigmoid(o) * c_t / n_t

A state whose n is 0 has seen nothing, and its m does not count. From then on one of the two exponentials is 1 at every
step, so n is at least 1: h divides by max(n, 1), the same from any state that a sequence leads to, and finite from
every other. The paper's heads are `--config.model.encoder.cell=slstm/heads4`.
"""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def _combine(params: Params, state: State, a: Array, r: Array) -> State:
    _, c, n, m = state
    i, f, z, o = jnp.split(a + r, 4, axis=-1)
    kept = jax.nn.log_sigmoid(f) + m
    largest = jnp.where(n == 0, i, jnp.maximum(kept, i))
    keep, add = jnp.where(n == 0, 0, jnp.exp(kept - largest)), jnp.exp(i - largest)
    c, n = keep * c + add * jnp.tanh(z), keep * n + add
    return jax.nn.sigmoid(o) * c / jnp.maximum(n, 1), c, n, largest


SLSTM = Cell(
    name="slstm",
    gates=("i", "f", "z", "o"),
    combine=_combine,
    state_names=("h", "c", "n", "m"),
    gate_bias={"f": 1.0},
    memory_gates={"f": 1, "i": -1},
)
