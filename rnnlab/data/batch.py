"""Batches of a training step: padded ids, time-major. Imports nothing from the rest of rnnlab."""

from typing import Any, NamedTuple

Ids = Any  # np.ndarray on the host, jax.Array on a device


class Batch(NamedTuple):
    """Padded ids. A row that only fills up the batch has both lengths 0.

    `source` `[source, batch]`, `source_lengths` `[batch]`; `inputs` and `labels` `[target, batch]`, the target starting
    with BOS and ending with EOS; `target_lengths` `[batch]`, including EOS.
    """

    source: Ids
    source_lengths: Ids
    inputs: Ids
    labels: Ids
    target_lengths: Ids

    @property
    def tokens(self) -> int:
        """The number of labels without padding."""
        return int(self.target_lengths.sum())

    @property
    def padding(self) -> tuple[int, int]:
        """The number of padded cells of source and target, and of all cells."""
        cells = self.source.size + self.labels.size
        return cells - int(self.source_lengths.sum() + self.target_lengths.sum()), cells
