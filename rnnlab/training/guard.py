"""Skipping of steps: those with a loss or gradient that is not finite, and spikes of the loss. Imports only jax."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

_DECAY = 0.98  # of the usual loss: about the last 50 steps
_KNOWN = 1 - _DECAY**50  # its weight after 50 steps, before which no loss is a spike


class Guard(NamedTuple):
    """The state of the guard: the moving average of the losses of applied steps (`summed`, and its `weight`), and the
    number of skipped steps in a row up to the last one (`skipped`)."""

    summed: Array
    weight: Array
    skipped: Array

    @classmethod
    def start(cls) -> "Guard":
        """Returns the state before the first step."""
        return cls(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def judge(self, loss: Array, gradient_norm: Array, *, spike: float) -> tuple[Array, "Guard"]:
        """Returns whether a step is applied, and the state after it.

        Args:
          loss: of the step, in nats; gradient_norm: global norm of its gradient.
          spike: skips a loss above this many times the usual one; 0 applies any finite one.
        """
        counts = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        if spike:
            counts &= (loss * self.weight <= spike * self.summed) | (self.weight < _KNOWN)
        summed = jnp.where(counts, _DECAY * self.summed + (1 - _DECAY) * loss, self.summed)
        weight = jnp.where(counts, _DECAY * self.weight + (1 - _DECAY), self.weight)
        return counts, Guard(summed, weight, jnp.where(counts, 0, self.skipped + 1))
