"""The splits of the data of a config."""

from ml_collections import ConfigDict

from rnnlab.data.example import SPLITS
from rnnlab.data.sequences.base import has_split, held_out, read_split
from rnnlab.data.sequences.examples import Examples
from rnnlab.errors import UserError


def read_splits(data: ConfigDict) -> dict[str, Examples]:
    """Reads all available splits; without a validation file, a share of train is held out.

    Raises:
      UserError: data that cannot be read, or no validation.
    """
    found = {split: read_split(data, split) for split in SPLITS if has_split(data, split)}
    if "validation" not in found:
        if not data.validation_share:
            raise UserError(
                "config.data.validation_share: 0 is not allowed without config.data.files.validation; the best step is "
                "selected on validation"
            )
        train, validation = held_out(found["train"], data.validation_share)
        found |= {"train": train, "validation": validation}
    return {split: found[split] for split in SPLITS if split in found}
