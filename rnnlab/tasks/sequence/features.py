"""Matches the features of examples with those of training."""

from collections.abc import Sequence

from rnnlab.data.sequences.examples import Examples, counted, listed, reorder_features
from rnnlab.errors import UserError


def match_features(examples: Examples, names: Sequence[str], number: int, *, unit: str = "feature") -> Examples:
    """Puts the features of examples into the order of training: by name, or by position if either has no names.

    Args:
      names: of the features of training, if it has names.
      number: of the features of training.
      unit: the word for a feature in messages.

    Raises:
      UserError: other names, or another number of features, with the place.
    """
    lacking = [name for name in names if name not in examples.names]
    further = [name for name in examples.names if name not in names]
    if names and examples.names and (lacking or further):
        parts = [f"{word} {listed(found)}" for word, found in (("without", lacking), ("with", further)) if found]
        parts += ["columns without any number are ignored"] if lacking else []
        raise UserError(f"{examples.places(0)}: other {unit}s than in train: {', '.join(parts)}")
    check_number(examples, number, unit=unit)
    return reorder_features(examples, tuple(names)) if names and examples.names else examples


def check_number(examples: Examples, number: int, *, there: str = "train", unit: str = "feature") -> None:
    """Refuses an example with another number of features than elsewhere.

    Raises:
      UserError: names its place, and `there`.
    """
    for i, each in enumerate(examples.inputs):
        if each.shape[1] != number:
            raise UserError(f"{examples.places(i)}: {counted(each.shape[1], unit)}, but {there} has {number}")
