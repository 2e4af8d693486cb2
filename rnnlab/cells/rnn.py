"""The vanilla recurrent network (Elman 1990), h_t = phi(W x_t + R h_{t-1} + b), with phi = tanh or relu.

With relu and R initialised to the identity it is the IRNN of Le, Jaitly and Hinton 2015 (arXiv 1504.00941).
"""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State


def _combine_tanh(params: Params, state: State, a: Array, r: Array) -> State:
    return (jnp.tanh(a + r),)


def _combine_relu(params: Params, state: State, a: Array, r: Array) -> State:
    return (jax.nn.relu(a + r),)


RNN = Cell(name="rnn", gates=("h",), combine=_combine_tanh)
RNN_RELU = Cell(name="rnn_relu", gates=("h",), combine=_combine_relu)
