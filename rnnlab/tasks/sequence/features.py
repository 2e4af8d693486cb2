"""Features of examples beside those of training: the same ones, in the same order."""

from collections.abc import Sequence

from rnnlab.data.sequences.examples import Examples, counted, listed, reorder_features
from rnnlab.errors import UserError


def match_features(examples: Examples, names: Sequence[str], number: int, *, unit: str = "feature") -> Examples:
    """Puts the features of examples into the order of training: by name, or where either has no names by position.

    Args:
      names: of the features of training, where it has such.
      number: of the features of training.
      unit: what a message calls one.

    Raises:
      UserError: other names, or another number of features, with the place.
    """
    lacking = [name for name in names if name not in examples.names]
    further = [name for name in examples.names if name not in names]
    if names and examples.names and (lacking or further):
        parts = [f"{word} {listed(found)}" for word, found in (("without", lacking), ("with", further)) if found]
        parts += ["a column without any number is left out"] if lacking else []
        raise UserError(f"{examples.places(0)}: other {unit}s than in train: {', '.join(parts)}")
    check_number(examples, number, unit=unit)
    return reorder_features(examples, tuple(names)) if names and examples.names else examples


def check_number(examples: Examples, number: int, *, there: str = "train", unit: str = "feature") -> None:
    """Refuses an example of another number of features than there are elsewhere.

    Raises:
      UserError: names its place, and `there`.
    """
    for i, each in enumerate(examples.inputs):
        if each.shape[1] != number:
            raise UserError(f"{examples.places(i)}: {counted(each.shape[1], unit)}, but {there} has {number}")
