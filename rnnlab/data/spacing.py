"""Where blanks stand between the tokens of a text: learned from texts, so that tokens become readable text again.

Imports nothing from the rest of rnnlab.
"""

import collections
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_FIRST, _SECOND, _IN_NUMBER = range(3)
Tight = dict[str, dict[str, list[int]]]


class _Place(NamedTuple):
    """One side of a token, "before" or "after", and the situation that the token is in."""

    side: str
    token: str
    situation: int


class Spacing:
    """On which sides of which tokens no blank stands.

    Punctuation decides about the blanks around it; between two words the second one does (`is`, `n't`). Each does what
    it mostly did in the texts, in three situations: between digits (`3.14`), else as the first, third ... one of its
    kind, or as the second, fourth ... one, because an opening quotation mark often looks like the closing one.

    Args:
      tight: for the sides "before" and "after" the tokens that touch their neighbour there, with the situations in
        which they do.
    """

    def __init__(self, tight: Tight):
        self.tight = tight

    @classmethod
    def learn(cls, texts: Iterable[tuple[str, Sequence[str]]]) -> "Spacing":
        """Counts over texts, each with its tokens, which stand in it one after the other."""
        votes: collections.Counter[_Place] = collections.Counter()
        for text, tokens in texts:
            for places, touch in zip(_deciding(tokens), _touching(text, tokens), strict=True):
                votes.update(dict.fromkeys(places, 1 if touch else -1))
        tight: Tight = {"before": {}, "after": {}}
        for place in sorted(votes):
            usual = place._replace(situation=_FIRST)
            situations = [s for s in range(3) if votes.get(place._replace(situation=s), votes[usual]) > 0]
            if situations:
                tight[place.side][place.token] = situations
        return cls(tight)

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        text = "".join(tokens[:1])
        for places, token in zip(_deciding(tokens), tokens[1:], strict=True):
            touch = any(place.situation in self.tight[place.side].get(place.token, ()) for place in places)
            text += token if touch else f" {token}"
        return text


def _deciding(tokens: Sequence[str]) -> Iterator[list[_Place]]:
    """For each two neighbours, the sides that decide whether a blank stands between them."""
    situations = _situations(tokens)
    for left, right in itertools.pairwise(range(len(tokens))):
        after = _Place("after", tokens[left], situations[left])
        before = _Place("before", tokens[right], situations[right])
        signs = [place for place, end in ((after, -1), (before, 0)) if not _is_word(place.token[end])]
        yield signs or [before]


def _situations(tokens: Sequence[str]) -> list[int]:
    situations, seen = [], collections.Counter[str]()
    for left, token, right in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        in_number = left[-1:].isdigit() and right[:1].isdigit()
        situations.append(_IN_NUMBER if in_number else seen[token] % 2)
        seen[token] += not in_number
    return situations


def _touching(text: str, tokens: Sequence[str]) -> Iterator[bool]:
    """For each two neighbours, whether nothing stands between them in the text."""
    end = 0
    for index, token in enumerate(tokens):
        start = text.find(token, end)
        if index:
            yield start == end
        end = start + len(token)


def _is_word(character: str) -> bool:
    """Whether it is a letter, a digit or a mark on one, and no sign."""
    return unicodedata.category(character)[0] in "LMN" or character == "_"
