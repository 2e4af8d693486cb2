"""The real-gated linear recurrent unit of Griffin (De et al. 2024, arXiv 2402.19427).

Gates in the order r, i, x (recurrence gate, input gate, input):

    decay = sigmoid(decay_logit) ^ (8 sigmoid(r))
    h_t = decay * h_{t-1} + sqrt(1 - decay^2) * sigmoid(i) * x

sigmoid(decay_logit)^8 is initialised uniformly in 0.9 to 0.999. The paper's x is the input itself, as wide as the
state; here it is a projection, so a cell may read inputs of any width.
"""

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells.base import Cell, Params, State
from rnnlab.cells.lru import complement

_POWER = 8.0
_LEAST, _MOST = 0.9, 0.999


def _combine(params: Params, state: State, a: Array, r: Array) -> State:
    (h,) = state
    recurrence, i, x = jnp.split(a + r, 3, axis=-1)
    log_decay = _POWER * jax.nn.sigmoid(recurrence) * jax.nn.log_sigmoid(params["decay_logit"])
    return (jnp.exp(log_decay) * h + complement(log_decay) * jax.nn.sigmoid(i) * x,)


def _draw_decay(key: Array, shape: tuple[int, ...]) -> Array:
    decay = jax.random.uniform(key, shape, minval=_LEAST, maxval=_MOST) ** (1 / _POWER)
    return jnp.log(decay) - jnp.log1p(-decay)


RG_LRU = Cell(
    name="rg_lru",
    gates=("r", "i", "x"),
    combine=_combine,
    unit_params={"decay_logit": _draw_decay},
    affine=True,
    recurrence="none",
)
