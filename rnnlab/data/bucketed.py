"""Grain's part of the pipeline: turns a stream of row numbers into batches, each from one length bucket."""

import itertools
from typing import Any

import grain
import numpy as np

from rnnlab.data.pipeline import Rows, Sizes, fitting_size


class Bucketed(grain.IterDataset):
    """Batches of rows, each from one bucket; made by `rnnlab.data.pipeline.training_batches`."""

    def __init__(self, parent, rows: Rows, sizes: Sizes, batch_size: int, *, process: int, processes: int, alike: int):
        super().__init__(parent)
        self.rows, self.batch_size, self.alike = rows, batch_size, alike
        widest = fitting_size(sizes, tuple(rows.steps.max(1).tolist()))
        self.sizes = sizes if widest in sizes else [*sizes, widest]
        self.buckets = _full_buckets(rows.steps, self.sizes, batch_size).tolist()
        self.full = min(batch_size, len(rows))  # rows of a batch
        self.columns = batch_size // processes
        self.share = slice(process * self.columns, (process + 1) * self.columns)

    def __iter__(self) -> "_BucketedIterator":
        return _BucketedIterator(self._parent.__iter__(), self)


def _full_buckets(steps: np.ndarray, sizes: Sizes, batch_size: int) -> np.ndarray:
    """Returns the bucket of each row: the first that it fits into, or a larger one, so that each used bucket has
    `batch_size` rows."""
    bounds = np.array(sizes).T
    fitting = np.maximum.reduce([np.searchsorted(*side) for side in zip(bounds, steps, strict=True)])
    order = np.lexsort((steps.max(0), fitting))  # the shortest first
    begin = np.searchsorted(fitting[order], np.arange(len(sizes)))  # of each bucket, in that order
    above = len(order)  # where the next bucket begins
    for bucket in reversed(range(len(sizes))):
        begin[bucket] = min(begin[bucket], above)
        if begin[bucket] < above:
            begin[bucket] = max(0, min(begin[bucket], above - batch_size))
            if begin[bucket] < batch_size:  # the remaining rows would not fill a batch
                begin[bucket] = 0
        above = begin[bucket]
    buckets = np.empty(len(order), np.int64)
    buckets[order] = np.searchsorted(begin, np.arange(len(order)), side="right") - 1
    return buckets


class _BucketedIterator(grain.DatasetIterator):
    """Fills one buffer of row numbers per bucket, and emits the first with enough for `alike` consecutive batches, each
    of different rows; its state is the buffers and the batches still to emit. `rows` are those of the last batch."""

    def __init__(self, parent, dataset: Bucketed):
        super().__init__(parent)
        self._dataset = dataset
        self._buffers: list[list[int]] = [[] for _ in dataset.sizes]
        self._ready: list[list[int]] = []  # the rows of the next batches
        self.rows: list[int] = []

    def __next__(self) -> Any:
        dataset = self._dataset
        while not self._ready:
            self._fill()
        self.rows, *self._ready = self._ready
        size = dataset.sizes[dataset.buckets[self.rows[0]]]
        return dataset.rows.assemble(self.rows[dataset.share], size, dataset.columns)

    def _fill(self) -> None:
        """Adds a row, and makes batches ready if its buffer then has enough for all of them."""
        row = int(next(self._parent))
        dataset, bucket = self._dataset, self._dataset.buckets[row]
        self._buffers[bucket].append(row)
        left, found = self._buffers[bucket], list[list[int]]()
        while len(found) < dataset.alike:
            if len(left) < dataset.full or len(set(left)) < dataset.full:
                return
            taken, left = _first_different(left, dataset.full)
            found.append(taken)
        self._ready, self._buffers[bucket] = found, left

    def get_state(self) -> dict[str, Any]:
        return {
            "parent": self._parent.get_state(),
            "buffers": [list(b) for b in self._buffers],
            "ready": [list(rows) for rows in self._ready],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self._parent.set_state(state["parent"])
        self._ready = [list(rows) for rows in state.get("ready", [])]
        self._buffers = [[] for _ in self._dataset.sizes]
        others = state["buffers"]
        if any(len(rows) != self._dataset.full for rows in self._ready):
            others, self._ready = [*self._ready, *others], []
        for row in itertools.chain(*others):  # the batch size, and so the buckets, may have changed
            self._buffers[self._dataset.buckets[row]].append(row)


def _first_different(rows: list[int], number: int) -> tuple[list[int], list[int]]:
    """Returns the first `number` different rows, and the others: a row may occur again in the next epoch."""
    taken: dict[int, None] = {}
    left = []
    for row in rows:
        if row in taken or len(taken) == number:
            left.append(row)
        else:
            taken[row] = None
    return list(taken), left
