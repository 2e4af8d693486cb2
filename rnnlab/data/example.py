"""What every dataset has: splits, and in each of them examples."""

from typing import NamedTuple

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """A source and its targets: one, or every answer that counts as right."""

    source: str
    targets: tuple[str, ...]
