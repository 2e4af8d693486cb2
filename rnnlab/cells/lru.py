"""Linear recurrences with a fixed complex decay for each unit, written in real numbers: the LRU and the diagonal S5.

The state is x = h + i c, and h, its real part, the output; gates re, im are the input B u:

    x_t = lambda * x_{t-1} + gamma * (re + i im)

LRU (Orvieto et al. 2023, arXiv 2303.06349): lambda = exp(-exp(nu) + i exp(theta)), gamma = gain sqrt(1 - |lambda|^2),
initialised uniformly in the ring between |lambda|^2 = 0.9 and 0.999 and with gain 1. (In the paper gamma is learnt
independently after initialisation.)
S5 (Smith, Warrington and Linderman 2023, arXiv 2208.04933), with the diagonal of S4D-Lin (Gu et al. 2022, arXiv
2206.11893): lambda = exp(step * (-exp(decay) + i frequency)), gamma (lambda - 1) / (-exp(decay) + i frequency), a hold
of the input over the step; initialised at -1/2 + i pi n, with steps from 0.001 to 0.1.

Over a time dt (1 by default) lambda becomes lambda^dt in both: gamma of the LRU then uses that lambda, and the step of
S5 is dt times as long.

Exponents are clipped at 9: an angle beyond exp(9) has no digits left in float32, nor has exp(-exp(9)).

The papers' read-out C x + D u is the next layer's matrix; it sees the real part only, so a read-out of both parts takes
two units.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.cells.base import Cell, Params, State

_INNER, _OUTER = 0.9, 0.999  # squares of the ring's radii
_SHORTEST_STEP, _LONGEST_STEP = 0.001, 0.1
_MOST = 9.0
_SMALL = 0.01  # up to which five terms of a series are exact to 1e-13


def complement(log_decay: Array) -> Array:
    """Returns sqrt(1 - decay^2) from the log of a decay; its derivative is 0 where rounding makes the decay 1."""
    square = -jnp.expm1(2 * log_decay)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _exp(exponent: Array) -> Array:
    return jnp.exp(jnp.minimum(exponent, _MOST))


def _turn(decay: tuple[Array, Array], drive: tuple[Array, Array], state: State) -> State:
    """Returns decay * state + drive, with complex numbers as pairs."""
    (real, imaginary), (h, c) = decay, state
    return real * h - imaginary * c + drive[0], real * c + imaginary * h + drive[1]


def _times(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def _mean_exp(z: tuple[Array, Array]) -> tuple[Array, Array]:
    """Returns (exp(z) - 1) / z, the mean of exp from 0 to z, by its series where the quotient is inexact."""
    real, imaginary = z
    square = real**2 + imaginary**2
    small = square < _SMALL**2
    near = jnp.where(small, real, 0), jnp.where(small, imaginary, 0)
    series = near[0] / 120 + 1 / 24, near[1] / 120
    for coefficient in (1 / 6, 1 / 2, 1):
        product = _times(near, series)
        series = product[0] + coefficient, product[1]
    size = jnp.where(small, 1, square)
    less_1 = jnp.expm1(real) * jnp.cos(imaginary) - 2 * jnp.sin(imaginary / 2) ** 2, jnp.exp(real) * jnp.sin(imaginary)
    quotient = _times(less_1, (real / size, -imaginary / size))
    return jnp.where(small, series[0], quotient[0]), jnp.where(small, series[1], quotient[1])


def _combine_lru(params: Params, state: State, a: Array, r: Array, dt: Array | float = 1.0) -> State:
    rate, phase = dt * _exp(params["nu"]), dt * _exp(params["theta"])
    radius, gamma = jnp.exp(-rate), params["gain"] * complement(-rate)
    re, im = jnp.split(a + r, 2, axis=-1)
    return _turn((radius * jnp.cos(phase), radius * jnp.sin(phase)), (gamma * re, gamma * im), state)


def _combine_s5(params: Params, state: State, a: Array, r: Array, dt: Array | float = 1.0) -> State:
    step = dt * _exp(params["step"])
    rate, angle = -_exp(params["decay"]) * step, params["frequency"] * step
    radius, hold = jnp.exp(rate), _mean_exp((rate, angle))
    re, im = jnp.split(a + r, 2, axis=-1)
    decay = radius * jnp.cos(angle), radius * jnp.sin(angle)
    return _turn(decay, _times(hold, (step * re, step * im)), state)


def _draw_nu(key: Array, shape: tuple[int, ...]) -> Array:
    squares = jax.random.uniform(key, shape, minval=_INNER, maxval=_OUTER)
    return jnp.log(-0.5 * jnp.log(squares))


def _draw_theta(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.log(jax.random.uniform(key, shape, minval=1e-3, maxval=2 * np.pi))


def _draw_step(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, minval=np.log(_SHORTEST_STEP), maxval=np.log(_LONGEST_STEP))


def _harmonics(_key: Array, shape: tuple[int, ...]) -> Array:
    return np.pi * jnp.arange(shape[0], dtype=jnp.float32)


_FACTS: dict = {
    "gates": ("re", "im"),
    "state_names": ("h", "c"),
    "affine": True,
    "continuous": True,
    "recurrence": "none",
    "together": ("h", "c"),
}
LRU = Cell(
    name="lru",
    combine=_combine_lru,
    unit_params={"nu": _draw_nu, "theta": _draw_theta, "gain": 1.0},
    **_FACTS,
)
S5 = Cell(
    name="s5",
    combine=_combine_s5,
    unit_params={"decay": float(np.log(0.5)), "frequency": _harmonics, "step": _draw_step},
    **_FACTS,
)
