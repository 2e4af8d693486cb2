"""What a training step reads: padded ids, time-major. Imports nothing from the rest of rnnlab."""

from typing import Any, NamedTuple

Ids = Any  # np.ndarray on the host, jax.Array on a device


class Batch(NamedTuple):
    """Padded ids. A row that only fills the batch up has both lengths 0.

    `source` `[source, batch]`, `source_lengths` `[batch]`; `inputs` and `labels` `[target, batch]`, the target from
    BOS on and up to EOS; `target_lengths` `[batch]`, EOS counted.
    """

    source: Ids
    source_lengths: Ids
    inputs: Ids
    labels: Ids
    target_lengths: Ids

    @property
    def tokens(self) -> int:
        """Labels that are not padding."""
        return int(self.target_lengths.sum())

    @property
    def padding(self) -> tuple[int, int]:
        """Cells of source and target that are padding, and all cells."""
        cells = self.source.size + self.labels.size
        return cells - int(self.source_lengths.sum() + self.target_lengths.sum()), cells
