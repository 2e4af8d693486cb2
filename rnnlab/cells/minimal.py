"""minGRU and minLSTM (Feng et al. 2024, arXiv 2410.01201): gates that do not read the state, so a step is affine in it.

minGRU, gates z, h, and minLSTM, gates f, i, h:

    h_t = (1 - sigmoid(z)) * h_{t-1} + sigmoid(z) * h                       minGRU
    h_t = f' * h_{t-1} + i' * h,  f' = f / (f + i), i' = i / (f + i)        minLSTM; f, i after their sigmoid

The `_log` forms are the paper's log-space versions: the candidate is positive, g(h) = h + 1/2 for
h >= 0 and sigmoid(h) below. The paper scans their logarithms; that is the same recurrence, and `rnnlab.scans` needs no
logarithms for it: it multiplies decays of at most 1, and never divides by them.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def _positive(candidate: Array) -> Array:
    return jnp.where(candidate >= 0, candidate + 0.5, jax.nn.sigmoid(candidate))


def _plain(candidate: Array) -> Array:
    return candidate


def _combine_gru(params: Params, state: State, a: Array, r: Array, *, bend: Callable[[Array], Array]) -> State:
    (h,) = state
    z, candidate = jnp.split(a + r, 2, axis=-1)
    return (jax.nn.sigmoid(-z) * h + jax.nn.sigmoid(z) * bend(candidate),)


def _combine_lstm(params: Params, state: State, a: Array, r: Array, *, bend: Callable[[Array], Array]) -> State:
    (h,) = state
    f, i, candidate = jnp.split(a + r, 3, axis=-1)
    share = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)  # f' = f / (f + i) without a quotient
    return (jax.nn.sigmoid(share) * h + jax.nn.sigmoid(-share) * bend(candidate),)


MIN_GRU = Cell(
    name="min_gru",
    gates=("z", "h"),
    combine=functools.partial(_combine_gru, bend=_plain),
    memory_gates={"z": -1},
    affine=True,
    recurrence="none",
)
MIN_GRU_LOG = dataclasses.replace(MIN_GRU, name="min_gru_log", combine=functools.partial(_combine_gru, bend=_positive))
MIN_LSTM = Cell(
    name="min_lstm",
    gates=("f", "i", "h"),
    combine=functools.partial(_combine_lstm, bend=_plain),
    memory_gates={"f": 1, "i": -1},
    affine=True,
    recurrence="none",
)
MIN_LSTM_LOG = dataclasses.replace(
    MIN_LSTM, name="min_lstm_log", combine=functools.partial(_combine_lstm, bend=_positive)
)
