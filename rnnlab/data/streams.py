"""Batches of a language model: parallel streams of one text, read piece by piece (truncated backpropagation)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_DEVIATION = 5  # standard deviation and minimum of random lengths, as in Merity et al. 2018
_HALF = 0.05
_LONGER = 10  # steps by which a random length may exceed the full one


class Piece(NamedTuple):
    """The same steps of all streams.

    Attributes:
      inputs, labels: ids `[time, batch]`; `labels` are the tokens that follow `inputs`.
      lengths: `[batch]`, valid steps; all are the same.
      starts: `[batch]`, whether the streams start here, without a carried state.
    """

    inputs: Any
    labels: Any
    lengths: Any
    starts: Any


class Streams:
    """An endless iterator over pieces of a text, epoch after epoch.

    An epoch treats the text as a ring, cuts it at a random token into as many streams as a batch has rows, and reads
    them in parallel; every token is predicted once, except fewer than one per stream. The last piece of an epoch is
    shorter.

    Args:
      ids: of the text, `[tokens]`, at least `batch_size * bptt`.
      batch_size: streams, over all processes.
      bptt: steps of a piece.
      random: draw the length of each piece as in Merity et al. 2018 (arXiv 1708.02182, section 5): around `bptt`,
        rarely around half of it, with a standard deviation of 5; arrays have room for 10 more than `bptt`.
      seed: of all random draws.
      process, processes: this process and their number; a piece has its share of the streams.

    Attributes:
      rows: the positions in the text of the streams of the last piece, of all processes.
    """

    def __init__(
        self, ids: np.ndarray, *, batch_size: int, bptt: int, random: bool, seed: int, process: int, processes: int
    ):
        self.rows: Sequence[int] = ()
        self._ids, self._batch, self._bptt, self._random, self._seed = ids, batch_size, bptt, random, seed
        self._time = bptt + _LONGER * random
        self._steps = len(ids) // batch_size  # of an epoch
        share = batch_size // processes
        self._mine = slice(process * share, (process + 1) * share)
        self._epoch = self._done = 0

    def __next__(self) -> Piece:
        if self._done == self._steps:
            self._epoch, self._done = self._epoch + 1, 0
        length = min(self._length(), self._steps - self._done)
        first = np.random.default_rng([self._seed, self._epoch]).integers(len(self._ids))
        begins = (first + self._done + self._steps * np.arange(self._batch)) % len(self._ids)
        self.rows = begins.tolist()
        places = begins[self._mine] + np.arange(length + 1)[:, None]
        read = np.zeros((self._time + 1, places.shape[1]), np.int32)
        read[: length + 1] = self._ids[places % len(self._ids)]
        inputs, labels = read[:-1].copy(), read[1:]
        inputs[length:] = 0
        starts = np.full(places.shape[1], self._done == 0)
        self._done += length
        return Piece(inputs, labels, np.full(places.shape[1], length, np.int32), starts)

    def _length(self) -> int:
        if not self._random:
            return self._bptt
        rng = np.random.default_rng([self._seed, self._epoch, self._done])
        mean = self._bptt / 2 if rng.random() < _HALF else self._bptt
        return int(np.clip(rng.normal(mean, _DEVIATION), min(_DEVIATION, self._bptt), self._time))

    def get_state(self) -> dict[str, Any]:
        """Returns the position: the epoch, and the steps done in it."""
        return {"epoch": self._epoch, "done": self._done}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a position."""
        self._epoch, self._done = state["epoch"], state["done"]
