"""From encoded examples to padded batches, in length buckets, with a position that can be saved.

Time-major: ids are `[time, batch]`.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from rnnlab.data.batch import Batch
from rnnlab.data.ragged import Ragged
from rnnlab.data.vocabulary import BOS, EOS, PAD

if TYPE_CHECKING:
    import grain

_SLACK, _MARGIN = 1.5, 10  # an output may be this much longer than targets of training: a factor, and tokens
Size = tuple[int, ...]  # the steps of a batch on each side
Sizes = list[Size]


class Rows(Protocol):
    """Encoded examples: sequences on one or several sides, each padded to the longest of a batch."""

    def __len__(self) -> int:
        """Returns the number of rows."""

    @property
    def steps(self) -> np.ndarray:
        """The steps of each row in a batch, `[sides, rows]`."""

    def assemble(self, rows: Sequence[int], size: Size, batch_size: int) -> Any:
        """Makes the padded batch of some rows, filled up to `batch_size` with columns of length 0."""


class Pairs:
    """Encoded pairs: `sources[i]` belongs to `targets[i]`; lengths without BOS and EOS.

    `examples[i]` is the number of the example of a pair; by default that of the pair.
    """

    def __init__(
        self,
        sources: Ragged | Iterable[Sequence[int]],
        targets: Ragged | Iterable[Sequence[int]],
        examples: Sequence[int] | np.ndarray | None = None,
    ):
        self.sources, self.targets = (
            side if isinstance(side, Ragged) else Ragged.of(side) for side in (sources, targets)
        )
        self.examples = np.arange(len(self.sources)) if examples is None else np.asarray(examples, np.int64)

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, rows: np.ndarray) -> "Pairs":
        """Returns these pairs, in this order."""
        return Pairs(self.sources.take(rows), self.targets.take(rows), self.examples[rows])

    @property
    def steps(self) -> np.ndarray:
        """The steps of sources, and of targets with EOS, `[2, pairs]`."""
        return np.stack([self.sources.lengths, self.targets.lengths + 1])

    def assemble(self, rows: Sequence[int], size: Size, batch_size: int) -> Batch:
        """Makes the padded batch of `rows`, filled up to `batch_size` columns."""
        chosen, (source_time, target_time) = np.asarray(rows, np.int64), size
        source = self.sources.padded(chosen, source_time, batch_size, padding=PAD)
        labels = self.targets.padded(chosen, target_time, batch_size, padding=PAD)
        inputs = np.concatenate([np.full((1, batch_size), PAD, np.int32), labels[:-1]])
        inputs[0, : len(rows)] = BOS
        labels[self.targets.lengths[chosen], np.arange(len(rows))] = EOS
        source_lengths, target_lengths = (np.zeros(batch_size, np.int32) for _ in range(2))
        source_lengths[: len(rows)] = self.sources.lengths[chosen]
        target_lengths[: len(rows)] = self.targets.lengths[chosen] + 1
        return Batch(source, source_lengths, inputs, labels, target_lengths)


class Lengths(NamedTuple):
    """Length statistics of training pairs, in tokens without BOS and EOS: the longest `source`, the longest `target`,
    and the largest `ratio` of a target to its source."""

    source: int
    target: int
    ratio: float

    @classmethod
    def of(cls, pairs: Pairs) -> "Lengths":
        """Measures one or more pairs."""
        sources, targets = pairs.sources.lengths, pairs.targets.lengths
        return cls(int(sources.max()), int(targets.max()), float((targets / np.maximum(sources, 1)).max()))

    def output_limit(self, source_lengths: np.ndarray) -> np.ndarray:
        """Bounds the tokens of an output, including EOS, for sources of these lengths.

        The bound is 1.5 times `ratio` per token of the source, plus 10, well above all pairs of training. `ratio` times
        the source is limited to the longest target (plus `ratio` per token beyond the longest source of training).
        """
        longest = self.target + self.ratio * np.maximum(source_lengths - self.source, 0)
        return np.ceil(_SLACK * np.minimum(self.ratio * source_lengths, longest)).astype(np.int32) + _MARGIN


def bucket_sizes(rows: Rows, buckets: int) -> Sizes:
    """Returns at most `buckets` sizes, ascending, that fit every row with the least padding.

    Rows are ordered by the longest of their sides, and cut where padding is minimal: the exact minimum over all cuts,
    by dynamic programming over the lengths that occur.
    """
    steps = rows.steps
    keys, group, counts = np.unique(steps.max(0), return_inverse=True, return_counts=True)
    bounds = np.ones((len(steps), len(keys)), np.int64)  # the longest of each side of each key
    for bound, side in zip(bounds, steps, strict=True):
        np.maximum.at(bound, group, side)
    most = min(buckets, len(keys))  # more than one per length saves nothing
    cells = np.full((most + 1, len(keys) + 1), np.iinfo(np.int64).max // 2)  # with so many buckets, of so many keys
    cells[:, 0] = 0
    starts = np.zeros(cells.shape, np.int64)  # of the last bucket
    for end in range(1, len(keys) + 1):
        sides = np.maximum.accumulate(bounds[:, :end][:, ::-1], axis=1)[:, ::-1].sum(0)  # of a bucket from each start
        within = np.cumsum(counts[:end][::-1])[::-1] * sides
        found = cells[:-1, :end] + within
        starts[1:, end] = found.argmin(1)
        cells[1:, end] = found[np.arange(most), starts[1:, end]]
    sizes: Sizes = []
    end, left = len(keys), int(cells[:, -1].argmin())  # the fewest buckets of those with the fewest cells
    while end:
        start = int(starts[left, end])
        sizes.insert(0, tuple(bounds[:, start:end].max(1).tolist()))
        end, left = start, left - 1
    return list(itertools.accumulate(sizes, lambda below, size: tuple(map(max, below, size))))


def fitting_size(sizes: Sizes, steps: Size) -> Size:
    """Returns the first of `sizes` that fits the steps; beyond them, powers of 2 times the last one, so that few shapes
    serve any length."""
    for size in sizes:
        if _fits(steps, size):
            return size
    widest = sizes[-1]
    while not _fits(steps, widest):
        widest = tuple(2 * side for side in widest)
    return widest


def _fits(steps: Size, size: Size) -> bool:
    return all(own <= most for own, most in zip(steps, size, strict=True))


def evaluation_batches(rows: Rows, sizes: Sizes, batch_size: int) -> Iterator[tuple[list[int], Any]]:
    """Yields every row once: the rows of each batch and the batch, by size; the last of a size is filled up.

    It is filled up to `batch_size`; if all rows together are no more than that, only to the next of `batch_widths`.
    """
    widths = batch_widths(batch_size) if len(rows) <= batch_size else [batch_size]
    by_size: dict[Size, list[int]] = {}
    for row, steps in enumerate(rows.steps.T.tolist()):
        by_size.setdefault(fitting_size(sizes, tuple(steps)), []).append(row)
    for size, found in sorted(by_size.items()):
        for start in range(0, len(found), batch_size):
            chunk = found[start : start + batch_size]
            yield chunk, rows.assemble(chunk, size, next(width for width in widths if width >= len(chunk)))


def batch_widths(batch_size: int) -> list[int]:
    """Returns the numbers of rows that batches are filled up to: powers of 2 below `batch_size`, and that itself, so
    that few rows cost little and any number of them is one of few shapes."""
    powers = itertools.takewhile(lambda width: width < batch_size, (2**power for power in itertools.count()))
    return [*powers, batch_size]


def training_batches(
    rows: Rows, sizes: Sizes, batch_size: int, *, seed: int, process: int = 0, processes: int = 1, alike: int = 1
) -> "grain.IterDataset":
    """Returns endless batches, reshuffled in every epoch; the iterator's state is a small JSON object.

    No batch contains a row twice, and all rows occur equally often. A bucket with fewer rows than a batch takes the
    longest rows of those below, which are then padded more. If all rows together are fewer, they are one batch in every
    epoch, filled up with columns of length 0.

    Args:
      batch_size: rows over all processes together; each process gets its own share of every batch, all in the same
        order and of the same shape.
      seed: of the shuffling.
      alike: the number of consecutive batches from the same bucket, and so of the same shape.
    """
    import grain  # with the module below: half a second that only training needs

    from rnnlab.data.bucketed import Bucketed

    numbers = grain.MapDataset.range(len(rows)).seed(seed).shuffle().repeat()
    return Bucketed(
        numbers.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)),
        rows,
        sizes,
        batch_size,
        process=process,
        processes=processes,
        alike=alike,
    )
