"""The training split as vocabularies and ids, made once and stored in the user's cache."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rnnlab.data.cache import Entry, remembered
from rnnlab.data.example import Example
from rnnlab.data.pipeline import Pairs
from rnnlab.data.ragged import Ragged
from rnnlab.data.vocabulary import Vocabulary, versions
from rnnlab.errors import UserError

_LOG = logging.getLogger("rnnlab")
SIDES = ("source", "target")


def build(
    examples: Iterable[Example], digest: str, options: Mapping[str, Mapping[str, Any]]
) -> tuple[Vocabulary, Vocabulary, Pairs]:
    """Makes the vocabularies of source and target, and the result of `encoded_pairs` for them.

    Args:
      examples: may be iterated over repeatedly.
      digest: of their contents.
      options: for "source" and "target", as in `Vocabulary.build_and_encode`.

    Raises:
      UserError: as `Vocabulary.build_and_encode`, with the field of the config.
    """
    made: list[Pairs] = []

    def make() -> Entry:
        source, sources = _build(options, "source", lambda: (example.source for example in examples))
        target, targets = _build(options, "target", lambda: (text for example in examples for text in example.targets))
        numbers = _numbers(examples)
        sources = sources if len(sources) == len(numbers) else sources.take(numbers)
        made.append(_kept(digest, source, target, lambda: Pairs(sources, targets, numbers)))
        return Entry([source.description, target.description])

    found = remembered("vocabularies", [digest, versions(), *(dict(options[side]) for side in SIDES)], make)
    source, target = map(Vocabulary, found.note)
    return source, target, made[0] if made else encoded_pairs(examples, digest, source, target)


def encoded_pairs(examples: Iterable[Example], digest: str, source: Vocabulary, target: Vocabulary) -> Pairs:
    """Returns `encode(examples, source, target)`, from the cache if available; its arrays are read-only."""
    return _kept(digest, source, target, lambda: encode(examples, source, target))


def encode(examples: Iterable[Example], source: Vocabulary, target: Vocabulary) -> Pairs:
    """Encodes one pair for each target of each example; `examples` are iterated over more than once."""
    return Pairs(
        (source.encode(example.source) for example in examples for _ in example.targets),
        (target.encode(text) for example in examples for text in example.targets),
        _numbers(examples),
    )


def _numbers(examples: Iterable[Example]) -> np.ndarray:
    """Returns the number of the example of each pair."""
    targets = np.fromiter((len(example.targets) for example in examples), np.int64)
    return np.repeat(np.arange(len(targets)), targets)


def _kept(digest: str, source: Vocabulary, target: Vocabulary, make: Callable[[], Pairs]) -> Pairs:
    def entry() -> Entry:
        pairs = make()
        sides = {"sources": pairs.sources, "targets": pairs.targets}
        arrays = {side: ids.values for side, ids in sides.items()}
        arrays |= {f"{side}_lengths": ids.lengths for side, ids in sides.items()}
        _LOG.info("encoded %s pairs, for every run with these data", f"{len(pairs):,}")
        return Entry(None, arrays | {"examples": pairs.examples})

    found = remembered("pairs", [digest, versions(), source.description, target.description], entry).arrays
    sources, targets = (Ragged(found[side], found[f"{side}_lengths"]) for side in ("sources", "targets"))
    return Pairs(sources, targets, found["examples"])


def _build(
    options: Mapping[str, Mapping[str, Any]], side: str, texts: Callable[[], Iterable[str]]
) -> tuple[Vocabulary, Ragged]:
    try:
        return Vocabulary.build_and_encode(_Again(texts), **options[side])
    except UserError as error:
        raise UserError(f"config.data.{side}.{error}") from None


class _Again:
    """An iterable that calls `begin` for each iteration."""

    def __init__(self, begin: Callable[[], Iterable[str]]):
        self._begin = begin

    def __iter__(self):
        return iter(self._begin())
