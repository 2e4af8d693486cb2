"""Splits and examples, common to all datasets."""

from typing import NamedTuple

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """A source and its targets: one, or all answers that count as correct."""

    source: str
    targets: tuple[str, ...]
