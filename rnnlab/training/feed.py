"""The batches of a run, one call of the program ahead of its steps."""

from typing import Any, NamedTuple

import jax
import numpy as np

from rnnlab.errors import UserError
from rnnlab.tasks.base import Batches
from rnnlab.training.devices import Devices


class Given(NamedTuple):
    """The arrays of a call on the devices, the training examples of each of its steps, and the position after them."""

    arrays: Any
    rows: list[list[int]]
    position: dict[str, Any]


class Feed:
    """Batches on the devices.

    Args:
      batches: of this process.
      devices: the layout of a batch.
      steps: of a call of the program.

    Attributes:
      position: of the batches after those taken, from which a resumed run continues.
    """

    def __init__(self, batches: Batches, devices: Devices, steps: int):
        self._batches, self._devices, self._steps = batches, devices, steps
        self._next: Given | Exception | None = None
        self.position = batches.get_state()

    def prepare(self) -> None:
        """Starts to transfer the next arrays, while the devices compute; an error is raised when they are taken."""
        try:
            self._next = self._draw()
        except Exception as error:  # of the task's own code; what has been computed must still be saved
            self._next = error

    def take(self) -> Given:
        """Returns the next arrays.

        Raises:
          UserError: the batches of a call have different shapes.
        """
        given, self._next = self._next or self._draw(), None
        if isinstance(given, Exception):
            raise given
        self.position = given.position
        return given

    def _draw(self) -> Given:
        batches, rows = [], []
        for _ in range(self._steps):
            batches.append(next(self._batches))
            rows.append(list(self._batches.rows))
        several = self._steps > 1
        arrays = self._devices.share(_stacked(batches) if several else batches[0], calls=several)
        return Given(arrays, rows, self._batches.get_state())


def _stacked(batches: list[Any]) -> Any:
    """Stacks batches along a new first axis."""
    try:
        return jax.tree.map(lambda *parts: np.stack(parts), *batches)
    except ValueError as error:
        raise UserError(
            f"config.training.steps_per_call: {len(batches)} consecutive batches must have the same shapes ({error})"
        ) from None
