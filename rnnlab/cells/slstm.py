"""The sLSTM (Beck et al. 2024, arXiv 2405.04517, equations 8 to 18): exponential gates, kept in range by a stabiliser.

Gates in the order i, f, z, o:

    m_t = max(log sigmoid(f) + m_{t-1}, i)                   the largest exponent so far
    c_t = exp(log sigmoid(f) + m_{t-1} - m_t) * c_{t-1} + exp(i - m_t) * tanh(z)
    n_t = exp(log sigmoid(f) + m_{t-1} - m_t) * n_{t-1} + exp(i - m_t)
    h_t = sigmoid(o) * c_t / n_t

A state with n = 0 has seen nothing, and its m is ignored. From then on one of the two exponentials is 1 at every
step, so n is at least 1: h divides by max(n, 1), the same from any state that a sequence leads to, and finite from
every other. The paper's heads are `--config.model.encoder.cell=slstm/heads4`.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def _combine(params: Params, state: State, a: Array, r: Array) -> State:
    _, c, n, m = state
    i, f, z, o = jnp.split(a + r, 4, axis=-1)
    c, n, m = _add((c, n, m + jax.nn.log_sigmoid(f)), (jnp.tanh(z), jnp.ones_like(n), i))
    return jax.nn.sigmoid(o) * c / jnp.where(n < 1, 1, n), c, n, m


def _add(seen: State, new: State) -> State:
    """Returns c exp(m) and n exp(m) of both, in units of exp of the larger m; the m of an n of 0 is ignored."""
    (c, n, m), (more_c, more_n, more_m) = seen, new
    m = jnp.where(n == 0, more_m, m)
    largest = jnp.maximum(m, more_m)
    keep, add = jnp.where(n == 0, 0, jnp.exp(m - largest)), jnp.exp(more_m - largest)
    return keep * c + add * more_c, keep * n + add * more_n, largest


def _mean(rate: float, old: State, new: State) -> State:
    """Returns the mean of c exp(m) and of n exp(m), as without a stabiliser."""
    return _add((*old[:2], old[2] + math.log(rate)), (*new[:2], new[2] + math.log1p(-rate)))


SLSTM = Cell(
    name="slstm",
    gates=("i", "f", "z", "o"),
    combine=_combine,
    state_names=("h", "c", "n", "m"),
    gate_bias={"f": 1.0},
    memory_gates={"f": 1, "i": -1},
    together=("c", "n", "m"),
    mean=_mean,
)
