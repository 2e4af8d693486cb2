"""The sequences of a scan, as one value that every method takes."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Params, State
from rnnlab.scans.recurrence import weights_dtype
from rnnlab.scans.select import Where


class Steps(NamedTuple):
    """The arrays of each step, `[time, batch, ...]`.

    Attributes:
      inputs: `[time, batch, features]`, or ids `[time, batch]`. `Sequences.with_inputs` puts `x W + b` in their place.
      updates: True where the new value is used: rows `[time, batch]`, or units `[time, batch, hidden]` for each entry
        of the state. Elsewhere the old value stays. None: always the new value.
      segment_starts: `[time, batch]`, True where a row restarts from the initial state. None: nowhere.
    """

    inputs: Array
    updates: Where = None
    segment_starts: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sequences:
    """A batch of sequences, or a block of their steps: a pytree, in which `reverse` is static.

    Attributes:
      steps: the arrays of each step.
      initial: the state before the first step and at each of `segment_starts`: entries `[batch, hidden]`, in at least
        float32.
      mask: `[batch, hidden]`, multiplies `h` where it enters `h R`; None: no mask.
      reverse: whether to run backwards, from the last step.
    """

    steps: Steps
    initial: State
    mask: Array | None = None
    reverse: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def time(self) -> int:
        """The number of steps."""
        return self.steps.inputs.shape[0]

    def dtype(self, params: Params) -> jnp.dtype:
        """Returns the dtype of outputs and residuals: the common one of inputs and weights."""
        return jnp.result_type(self.steps.inputs, weights_dtype(params))

    def with_inputs(self, inputs: Array) -> "Sequences":
        """Returns the same sequences with other inputs."""
        return dataclasses.replace(self, steps=self.steps._replace(inputs=inputs))

    def in_order(self) -> "Sequences":
        """Returns the same sequences with steps in the order of execution."""
        return dataclasses.replace(self, steps=flip(self.steps, self.reverse), reverse=False)


def flip(values: Any, reverse: bool) -> Any:
    """Reverses arrays `[time, ...]` in time if `reverse`, else returns them as they are."""
    return jax.tree.map(lambda v: v[::-1], values) if reverse else values
