"""The user's own dataset: a function of the data config that returns the examples of each split."""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ml_collections import ConfigDict

from rnnlab.data.example import SPLITS, Example
from rnnlab.errors import UserError
from rnnlab.own import load_own

_SHOWN = 80  # characters of an example in a message


class OwnSet:
    """The result of `module:NAME` or `file.py:NAME`: `{split: examples}`.

    Examples are a list, a generator, or any other iterable; each is a pair of a source and its target, or of a source
    and a list of targets that all count as correct. A split is read once, on demand, and stays in memory.

    Args:
      name: of the function.
      data: the data config; the function gets a copy.

    Raises:
      UserError: the function cannot be imported, fails, or returns something else.
    """

    def __init__(self, name: str, data: ConfigDict | None):
        self._name = name
        self._read: dict[str, list[Example]] = {}
        try:
            make = load_own(name)
        except ValueError as error:
            raise UserError(f"data.name: {error}") from None
        if not callable(make):
            self._refuse(f"is not a function but of type {type(make).__name__}")
        with self._failing():
            self._splits = make(copy.deepcopy(data))
        if not isinstance(self._splits, Mapping):
            self._refuse(f"returned something of type {type(self._splits).__name__}; a dict of splits is needed")
        if unknown := [split for split in self._splits if split not in SPLITS]:
            self._refuse(f"returned a split {unknown[0]!r}; allowed: {', '.join(SPLITS)}")
        if missing := [split for split in SPLITS[:2] if split not in self._splits]:
            self._refuse(f"returned no split {missing[0]!r}; train and validation are needed (test is optional)")

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits among train, validation and test."""
        return tuple(self._splits)

    def read(self, split: str) -> list[Example]:
        """Returns the examples of a split.

        Raises:
          UserError: no examples, iterating over them fails, or one is not a pair of texts or has an empty side.
        """
        if split not in self._read:
            with self._failing():
                found = list(self._splits[split])
            if not found:
                self._refuse(f"returned a split {split!r} without examples")
            self._read[split] = [self._example(pair, f"example {i} of {split}") for i, pair in enumerate(found, 1)]
        return self._read[split]

    def _example(self, pair: Any, place: str) -> Example:
        source: Any
        source, targets = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
        right = tuple(targets) if isinstance(targets, Sequence) and not isinstance(targets, str) else (targets,)
        if not right or not all(map(_is_text, (source, *right))):
            self._refuse(f"gave {_shown(pair)} as {place}; a pair of texts, source and target, is needed")
        if not all(text.strip() for text in (source, *right)):
            self._refuse(f"gave {_shown(pair)} as {place}: one side is empty; omit it")
        return Example(source, right)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turns an exception of the function's own code into one line."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            self._refuse(f"failed: {type(error).__name__}: {error}")

    def _refuse(self, fault: str) -> NoReturn:
        raise UserError(f"data.name: {self._name!r} {fault}") from None


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _shown(pair: Any) -> str:
    text = repr(pair)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
