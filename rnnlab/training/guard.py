"""Steps that must not count: those whose loss or gradient is not finite, and spikes of the loss. Imports jax only."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

_DECAY = 0.98  # of the usual loss: about the last 50 steps
_KNOWN = 1 - _DECAY**50  # its weight after 50 of them, before which no loss is a spike


class Guard(NamedTuple):
    """What is known of the steps so far: the moving average of the losses of those that counted (`summed`, and the
    `weight` in it), and how many did not, in a row, up to the last one (`skipped`)."""

    summed: Array
    weight: Array
    skipped: Array

    @classmethod
    def start(cls) -> "Guard":
        """Before the first step."""
        return cls(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def judge(self, loss: Array, gradient_norm: Array, *, spike: float) -> tuple[Array, "Guard"]:
        """Whether a step counts, and what is known after it.

        Args:
          loss: of the step, in nats; gradient_norm: global norm of its gradient.
          spike: a loss above so many times the usual one does not count; 0 lets any finite one count.
        """
        counts = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        if spike:
            counts &= (loss * self.weight <= spike * self.summed) | (self.weight < _KNOWN)
        summed = jnp.where(counts, _DECAY * self.summed + (1 - _DECAY) * loss, self.summed)
        weight = jnp.where(counts, _DECAY * self.weight + (1 - _DECAY), self.weight)
        return counts, Guard(summed, weight, jnp.where(counts, 0, self.skipped + 1))
