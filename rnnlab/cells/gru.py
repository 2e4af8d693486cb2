"""Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), in the two forms in use.

Gates in the order r, z, n (reset, update, candidate), as in torch and cuDNN:

    h_t = (1 - z) * n + z * h_{t-1}

`GRU` applies the reset gate after the recurrent product, n = tanh(a_n + r * (h R_n + b_n)), as torch and cuDNN do;
`b_n` is a separate bias inside the reset gate. `GRU_RESET_BEFORE` applies the gate before, n = tanh(a_n + (r * h) R_n),
as in the paper; this second product depends on the first, so `combine` computes it.
"""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def _combine(params: Params, state: State, a: Array, r: Array) -> State:
    (h,) = state
    a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
    r_r, r_z, r_n = jnp.split(r, 3, axis=-1)
    reset, update = jax.nn.sigmoid(a_r + r_r), jax.nn.sigmoid(a_z + r_z)
    candidate = jnp.tanh(a_n + reset * (r_n + params["b_n"]))
    return (candidate + update * (h - candidate),)


def _combine_reset_before(params: Params, state: State, a: Array, r: Array) -> State:
    (h,) = state
    a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
    r_r, r_z, _ = jnp.split(r, 3, axis=-1)
    reset, update = jax.nn.sigmoid(a_r + r_r), jax.nn.sigmoid(a_z + r_z)
    candidate = jnp.tanh(a_n + (reset * h) @ jnp.split(params["R"], 3, axis=-1)[2])
    return (candidate + update * (h - candidate),)


GRU = Cell(
    name="gru",
    gates=("r", "z", "n"),
    combine=_combine,
    memory_gates={"z": 1},
    unit_params={"b_n": 0.0},
    split_gates=("n",),
)
GRU_RESET_BEFORE = Cell(
    name="gru_reset_before",
    gates=("r", "z", "n"),
    combine=_combine_reset_before,
    memory_gates={"z": 1},
    split_gates=("n",),
    reads_params=("R",),
    mixes_units=True,
)
