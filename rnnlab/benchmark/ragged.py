"""Sequences of unequal lengths: their lengths, and the ways to batch them. Imports nothing of rnnlab."""

import heapq
from typing import NamedTuple

import numpy as np

LENGTHS = ("equal", "text")
ARRANGEMENTS = ("padded", "buckets", "packed")
_BATCHES = 8  # batches of all sequences, one per row
_MEDIAN, _SIGMA = 0.25, 0.5  # relative to the longest allowed; with these 0.3 % are cut to it


class Batch(NamedTuple):
    """Rows of `time` steps: their numbers of real steps, `seq_lengths` `[batch]` (None: all), and where sequences start
    within rows, `segment_starts` `[time, batch]` (None: one sequence per row)."""

    time: int
    seq_lengths: np.ndarray | None = None
    segment_starts: np.ndarray | None = None


def draw_lengths(batch: int, longest: int) -> np.ndarray:
    """Draws the lengths `[8 * batch]` of sequences, distributed like sentences: log-normal (Williams 1940, Biometrika
    31).

    They are the same for each call. Their median is a quarter of `longest`, to which longer ones are cut.
    """
    drawn = _MEDIAN * longest * np.exp(_SIGMA * np.random.default_rng(0).standard_normal(_BATCHES * batch))
    return np.clip(np.rint(drawn), 1, longest).astype(np.int32)


def arrange(seq_lengths: np.ndarray, batch: int, how: str = "") -> list[Batch]:
    """Puts sequences into batches of `batch` rows.

    Args:
      seq_lengths: of all sequences, a multiple of `batch`.
      batch: rows of each batch.
      how: "" or "padded": in the given order, all batches as long as the longest sequence; "buckets": sorted by length,
        each batch as long as its own longest; "packed": several sequences in a row, all rows about equally long.
    """
    if how == "packed":
        return _pack(seq_lengths, batch)
    ordered = np.sort(seq_lengths)[::-1] if how == "buckets" else seq_lengths
    groups = ordered.reshape(-1, batch)
    return [Batch(int((group if how == "buckets" else ordered).max()), group) for group in groups]


def _pack(seq_lengths: np.ndarray, batch: int) -> list[Batch]:
    """Assigns each sequence, the longest first, to the shortest row so far (Graham 1969)."""
    batches = max(1, int(seq_lengths.sum()) // (batch * int(seq_lengths.max())))
    rows: list[list[int]] = [[] for _ in range(batches * batch)]
    heap = [(0, number) for number in range(len(rows))]
    for length in sorted(map(int, seq_lengths), reverse=True):
        filled, number = heap[0]
        rows[number].append(length)
        heapq.heapreplace(heap, (filled + length, number))
    totals = np.array([sum(row) for row in rows], np.int32).reshape(batches, batch)
    starts = np.zeros((batches, int(totals.max()), batch), bool)
    for number, row in enumerate(rows):
        starts[number // batch, np.cumsum([0, *row])[:-1], number % batch] = bool(row)
    return [Batch(starts.shape[1], own, begun) for own, begun in zip(totals, starts, strict=True)]
