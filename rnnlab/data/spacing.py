"""The blanks between the tokens of a text, learnt from texts, to turn tokens into readable text again.

Imports nothing from the rest of rnnlab.
"""

import array
import collections
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_FIRST, _SECOND, _IN_NUMBER = range(3)
_MANY = 1 << 16  # tokens counted at a time
Tight = dict[str, dict[str, list[int]]]


class _Place(NamedTuple):
    """One side of a token, "before" or "after", and the situation of the token."""

    side: str
    token: str
    situation: int


class Spacing:
    """The sides of tokens without a blank.

    Punctuation determines the blanks around it; between two words the second one does (`is`, `n't`). Each token follows
    its majority in the texts, in three situations: between digits (`3.14`), else as the first, third ... one of its
    kind, or as the second, fourth ... one, because an opening quotation mark often looks like the closing one.

    Args:
      tight: for the sides "before" and "after" the tokens that touch their neighbour there, with the situations in
        which they do.
    """

    def __init__(self, tight: Tight):
        self.tight = tight

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text of tokens."""
        text = "".join(tokens[:1])
        for places, token in zip(_deciding(tokens), tokens[1:], strict=True):
            touch = any(place.situation in self.tight[place.side].get(place.token, ()) for place in places)
            text += token if touch else f" {token}"
        return text


class SpacingCounts:
    """Learns a `Spacing` from texts, many texts at a time."""

    def __init__(self):
        self._numbers: dict[str, int] = collections.defaultdict(itertools.count().__next__)  # of the different tokens
        self._kinds = np.zeros((4, 0), bool)  # of each token, see `_kinds_of`
        self._sums = np.zeros((2, 0), np.int64)  # of the votes on either side of each token in each situation
        self._votes = np.zeros((2, 0), np.int64)
        self._clear()

    def _clear(self) -> None:
        self._tokens, self._rows, self._touch = array.array("i"), array.array("i"), bytearray()

    def add(self, text: str, tokens: Sequence[str]) -> None:
        """Adds a text with its tokens, in their order in the text."""
        self._tokens.extend([self._numbers[token] for token in tokens])
        self._rows.append(len(tokens))
        if " ".join(tokens) == text and "  " not in text:
            self._touch += bytes(len(tokens))
        elif tokens:
            self._touch += bytes([*_touching(text, tokens), False])
        if len(self._tokens) > _MANY:
            self._count()

    def tight(self) -> Tight:
        """Returns the tokens that mostly touched their neighbours, for `Spacing`."""
        self._count()
        sums, votes = (table.reshape(2, -1, 3) for table in (self._sums, self._votes))
        touching = np.where(votes > 0, sums, sums[:, :, [_FIRST]]) > 0  # unseen situations follow the usual one
        touching &= votes.any(2, keepdims=True)
        found: Tight = {}
        for side, of_side in zip(("before", "after"), touching, strict=True):
            names = [(token, of_side[number]) for token, number in self._numbers.items() if of_side[number].any()]
            found[side] = {token: np.flatnonzero(situations).tolist() for token, situations in sorted(names)}
        return found

    def _count(self) -> None:
        """Adds the votes of the texts since the last call."""
        self._grow()
        tokens, lengths = np.array(self._tokens, np.int64), np.array(self._rows, np.int64)
        touch = np.frombuffer(bytes(self._touch), bool)
        self._clear()
        ends = np.cumsum(lengths)[lengths > 0]
        first, last = np.zeros((2, len(tokens)), bool)
        first[ends - lengths[lengths > 0]] = last[ends - 1] = True
        situations = self._situations_of(tokens, first, last, np.repeat(np.arange(len(lengths)), lengths))
        _, _, starts_as_sign, ends_as_sign = self._kinds
        left = np.flatnonzero(~last)  # of each two neighbours
        votes, places = np.where(touch[left], 1, -1), 3 * tokens + situations
        after = ends_as_sign[tokens[left]]
        before = starts_as_sign[tokens[left + 1]] | ~after
        for side, deciding, where in ((0, before, left[before] + 1), (1, after, left[after])):
            np.add.at(self._sums[side], places[where], votes[deciding])
            np.add.at(self._votes[side], places[where], 1)

    def _grow(self) -> None:
        new = list(itertools.islice(self._numbers, self._kinds.shape[1], None))
        self._kinds = np.concatenate([self._kinds, np.array([_kinds_of(t) for t in new], bool).reshape(-1, 4).T], 1)
        more = ((0, 0), (0, 3 * len(new)))
        self._sums, self._votes = np.pad(self._sums, more), np.pad(self._votes, more)

    def _situations_of(self, tokens: np.ndarray, first: np.ndarray, last: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns the same as `_situations`, for many texts."""
        starts_as_digit, ends_as_digit, _, _ = self._kinds[:, tokens]
        in_number = np.zeros(len(tokens), bool)
        in_number[1:-1] = ends_as_digit[:-2] & starts_as_digit[2:]
        in_number &= ~first & ~last
        others = np.flatnonzero(~in_number)
        group = rows[others] * len(self._numbers) + tokens[others]  # of the same token in the same text
        order = np.argsort(group, kind="stable")
        group = group[order]
        begins = np.flatnonzero(np.append(True, group[1:] != group[:-1])[: len(group)])
        sizes = np.diff(np.append(begins, len(group)))
        situations = np.full(len(tokens), _IN_NUMBER)
        situations[others[order]] = (np.arange(len(group)) - np.repeat(begins, sizes)) % 2
        return situations


def _kinds_of(token: str) -> tuple[bool, bool, bool, bool]:
    """Returns whether a token starts and ends with a digit, and whether it starts and ends with punctuation."""
    return token[:1].isdigit(), token[-1:].isdigit(), not _is_word(token[0]), not _is_word(token[-1])


def _deciding(tokens: Sequence[str]) -> Iterator[list[_Place]]:
    """Yields for each two neighbours the sides that determine whether there is a blank between them."""
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
    """Returns for each two neighbours whether they touch in the text."""
    end = 0
    for index, token in enumerate(tokens):
        start = text.find(token, end)
        if index:
            yield start == end
        end = start + len(token)


def _is_word(character: str) -> bool:
    """Returns whether a character is a letter, a digit or a mark on one, and not punctuation."""
    return unicodedata.category(character)[0] in "LMN" or character == "_"
