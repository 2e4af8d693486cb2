"""Scheduled sampling (Bengio et al. 2015, arXiv 1506.03099): the teacher-forcing ratio by step."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from rnnlab.errors import UserError

# k and the step i to the share epsilon_i, section 2.4 of the paper (there the line's k is 1 and its slope c).
_DECAYS: dict[str, Callable[[float, Array], Array]] = {
    "linear": lambda k, i: 1 - k * i,
    "exponential": lambda k, i: jnp.power(k, i),
    "inverse_sigmoid": lambda k, i: 1 / (1 + jnp.exp(i / k) / k),
}
_BELOW_ONE = ("linear", "exponential")


def make_teacher_forcing(config: ConfigDict) -> Callable[[Array], Array] | None:
    """Returns the schedule of `training.teacher_forcing_decay`, never below `model.teacher_forcing`.

    Returns:
      None if the ratio is the model's own at every step.

    Raises:
      UserError: a decay that is not one of "linear:k", "exponential:k" (both 0 < k < 1) and "inverse_sigmoid:k"
        (k >= 1), or one that has no effect with a minimum of 1.
    """
    text, least = config.training.teacher_forcing_decay, config.model.teacher_forcing
    if text == "none":
        return None
    where = f"config.training.teacher_forcing_decay: {text!r}"
    name, _, number = text.partition(":")
    try:
        k = float(number)
    except ValueError:
        k = 0.0
    if name not in _DECAYS or not (0 < k < 1 if name in _BELOW_ONE else k >= 1):
        raise UserError(
            f"{where}: unknown; allowed: none, linear:k or exponential:k with 0 < k < 1, inverse_sigmoid:k with k >= 1"
        )
    if least == 1:
        raise UserError(f"{where} ends at config.model.teacher_forcing, which is 1; lower that to the final ratio")
    return lambda step: jnp.clip(_DECAYS[name](k, step.astype(jnp.float32)), least, 1)
