"""Vocabularies: conversion between text and ids."""

import collections
import contextlib
import functools
import importlib.metadata
import itertools
import json
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import regex
import tokenizers

from rnnlab.data.ragged import Ragged
from rnnlab.data.spacing import Spacing, SpacingCounts
from rnnlab.errors import UserError
from rnnlab.files import write_text

T = TypeVar("T")
PAD, BOS, EOS, UNK = range(4)
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
NORMAL_FORMS = ("", "NFC", "NFD", "NFKC", "NFKD", "auto")
_WORTH_PARTING = 0.01  # share of texts
# Letters, digits and their marks, with the format characters that join letters; else one user-perceived character.
_LETTER = r"[\p{L}\p{N}\p{M}_]"
_WORD = regex.compile(rf"{_LETTER}(?:{_LETTER}|\p{{Join_Control}}|[\u00ad\u180e\u2060\ufeff](?={_LETTER}))*|(?!\s)\X")
_BYTES = [chr(byte) for byte in range(256)]  # each as the character of its number


def _bytes(text: str) -> list[str]:
    return list(text.encode("utf-8", "surrogateescape").decode("latin-1"))


_SPLIT: dict[str, Callable[[str], list[str]]] = {
    "character": list,
    "byte": _bytes,
    "word": _WORD.findall,
    "symbol": lambda text: text.split(" ") if text else [],
}
UNITS = (*_SPLIT, "spacy", "subword")
_EXACT = ("character", "byte")  # units with tokens that preserve the text, including blanks and line breaks
_SPACED = ("word", "spacy")  # units with tokens that drop the blanks


class Reading(NamedTuple):
    """The scored form: the text, and the tokens over which edits are counted."""

    text: str
    tokens: tuple[str, ...]


class Vocabulary:
    """The tokens of one side of a dataset; ids 0 to 3 are padding, start, end and unknown.

    Built by `Vocabulary.build`, loaded by `Vocabulary.load`, or made from the `description` of one, which JSON can
    represent. The units:

        character  code points
        byte       the bytes of UTF-8, all 256 known; bytes decoded by `surrogateescape` are restored
        word       runs of letters, digits and their marks, and single other characters
        symbol     parts separated by single spaces
        spacy      words and punctuation by spaCy's rules for the language (needs the package spacy)
        subword    byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) by Hugging Face `tokenizers`
    """

    def __init__(self, description: dict):
        self.description = description
        self.unit: str = description["unit"]
        self._split = _splitter(self.unit, description.get("language", ""))
        self._subwords = tokenizers.Tokenizer.from_str(description["model"]) if self.unit == "subword" else None
        self._spacing = Spacing(description["tight"]) if self.unit in _SPACED else None
        self._reverse: bool = description.get("reverse", False)
        self.tokens: list[str] = description.get("tokens", [])
        self._ids = {token: i for i, token in enumerate(self.tokens) if i >= len(_SPECIAL)}
        if self._subwords is not None:
            self._subwords.encode_special_tokens = True  # "<s>" in a text is not BOS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.description == other.description

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def build(cls, texts: Iterable[str], **options) -> "Vocabulary":
        """Makes only the vocabulary; options as in `build_and_encode`."""
        return cls.build_and_encode(list(texts), **options)[0]

    @classmethod
    def build_and_encode(
        cls,
        texts: Iterable[str],
        *,
        unit: str,
        lowercase: bool = False,
        normal_form: str = "",
        min_count: int = 1,
        size: int = 8000,
        language: str = "",
        reverse: bool = False,
    ) -> tuple["Vocabulary", Ragged]:
        """Counts the tokens of `texts`; returns the vocabulary, and the encoded texts.

        Args:
          texts: may be iterated over more than once; only one is in memory at a time.
          unit: one of `UNITS`.
          lowercase: fold to lower case first.
          normal_form: Unicode normal form to apply first: NFC, NFD, NFKC, NFKD, or "" for none. "auto" is NFD where it
            would leave fewer texts with an unseen token than NFC does, by 1 in 100 or more (Hangul as jamo), else NFC.
          min_count: rarer tokens become the unknown one (not for subwords and bytes).
          size: number of subwords.
          language: of spaCy's rules, such as "de".
          reverse: ids from the last token to the first (Sutskever et al. 2014, section 3.3).

        Raises:
          UserError: an unknown unit, normal form or language, no spaCy for the unit "spacy", or fewer subwords than
            the texts have characters.
        """
        for what, value, allowed in (("unit", unit, UNITS), ("normal_form", normal_form, NORMAL_FORMS)):
            if value not in allowed:
                raise UserError(f"{what}: unknown value {value!r}; allowed: {', '.join(map(repr, allowed))}")
        description: dict = {"unit": unit, "lowercase": lowercase, "normal_form": normal_form}
        description |= {"language": language, "reverse": reverse}
        if normal_form == "auto":
            unseen = {form: _unseen_share(texts, description | {"normal_form": form}) for form in ("NFC", "NFD")}
            description["normal_form"] = "NFD" if unseen["NFC"] - unseen["NFD"] >= _WORTH_PARTING else "NFC"
        if unit == "subword":
            normalised = (_normalised(text, description) for text in texts)
            made = cls(description | {"model": _train_subwords(normalised, size)})
            return made, Ragged.of(made.encode(text) for text in texts)
        spacing = SpacingCounts() if unit in _SPACED else None
        tokens, numbers = _numbered(texts, description, spacing)
        counts = np.bincount(numbers.values[:-1], minlength=len(tokens)).tolist()
        kept = sorted(token for token, count in zip(tokens, counts, strict=True) if count >= min_count)
        kept = _BYTES if unit == "byte" else kept
        if spacing is not None:
            description["tight"] = spacing.tight()
        made = cls(description | {"tokens": [*_SPECIAL, *kept]})
        ids = np.array([*(made._ids.get(token, UNK) for token in tokens), PAD], np.int32)
        numbers.values[-1] = len(tokens)
        return made, Ragged(ids[numbers.values], numbers.lengths)

    @property
    def ids(self) -> dict[str, int]:
        """Returns the id of each token, without special tokens.

        Raises:
          UserError: for subwords, which are not tokens of a text.
        """
        if self._subwords is not None:
            raise UserError("unit 'subword': its pieces are not tokens of a text")
        return self._ids

    @property
    def exact(self) -> bool:
        """Whether the joined tokens of a text are the original text, with its blanks and line breaks."""
        return self.unit in _EXACT

    def check_options(self, **options: object) -> None:
        """Refuses options of `build` that this vocabulary was not built with.

        Raises:
          UserError: names the option and both values.
        """
        for name in ("unit", "lowercase", "normal_form", "language", "reverse"):
            given, own = options[name], self.description.get(name, False if name == "reverse" else "")
            if given != own and given != "auto":
                raise UserError(f"{name}: {given!r}, but the vocabulary was built with {own!r}")

    def normalise(self, text: str) -> str:
        """Returns `text` in the case and the normal form of this vocabulary."""
        return _normalised(text, self.description)

    def split(self, text: str) -> list[str]:
        """Returns the tokens of `text` in their order, known or not."""
        text = self.normalise(text)
        if self._subwords is None:
            return self._split(text)
        found = self._subwords.encode(text)
        pieces = zip(found.ids, found.tokens, found.offsets, strict=True)
        return [text[slice(*span)] if token_id == UNK else token for token_id, token, span in pieces]

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the tokens of `text`, without BOS and EOS; `UNK` for unknown tokens."""
        if self._subwords is not None:
            ids = self._subwords.encode(self.normalise(text)).ids
        else:
            ids = [self._ids.get(token, UNK) for token in self.split(text)]
        return list(self.in_text_order(ids))

    def in_text_order(self, values: Sequence[T]) -> Sequence[T]:
        """Converts values per id to the order of the text, or back."""
        return values[::-1] if self._reverse else values

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the readable text of `ids`, without PAD, BOS and EOS, and with `UNK` as `<unk>`."""
        return self.read(ids).text

    def read(self, ids: Iterable[int]) -> Reading:
        """Returns the scored form of a prediction from its ids, without PAD, BOS and EOS."""
        ids = [int(i) for i in ids if i not in (PAD, BOS, EOS)]
        return self._reading(self.pieces(self.in_text_order(ids)), whole=UNK not in ids)

    def read_text(self, text: str) -> Reading:
        """Returns the scored form of a reference: as for a prediction of its tokens, so that spacing costs nothing."""
        return self._reading(self.split(text), whole=True)

    def _reading(self, tokens: list[str], *, whole: bool) -> Reading:
        text = self._join(tokens)
        if self._subwords is not None and whole:  # of a text's many segmentations, use that of `split`
            tokens = self.split(text)
        return Reading(text, tuple(tokens))

    def _join(self, tokens: list[str]) -> str:
        if self._subwords is not None:
            return self._subwords.decoder.decode(tokens)
        if self._spacing is not None:
            return self._spacing.join(tokens)
        if self.unit == "byte":
            return "".join(tokens).encode("latin-1").decode("utf-8", "replace")
        return ("" if self.unit == "character" else " ").join(tokens)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Returns the token of each id."""
        if self._subwords is not None:
            return [str(self._subwords.id_to_token(int(i))) for i in ids]
        return [self.tokens[int(i)] for i in ids]

    def listed(self) -> dict:
        """Returns `description` with the token of each id as `tokens`, for every unit."""
        return self.description | {"tokens": self.pieces(range(len(self)))}

    def __len__(self) -> int:
        return len(self.tokens) if self._subwords is None else self._subwords.get_vocab_size()

    def save(self, path: pathlib.Path) -> None:
        """Writes one JSON file."""
        write_text(path, json.dumps(self.description))

    @classmethod
    def load(cls, path: pathlib.Path) -> "Vocabulary":
        """Reads the file of `save`.

        Raises:
          UserError: the file is missing or damaged.
        """
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path}: not a vocabulary: {error}") from None


@functools.cache
def versions() -> list[str]:
    """Returns the versions of the code that splits and normalises texts: with others, a text may get other ids."""
    found = [f"Unicode {unicodedata.unidata_version}"]
    for package in ("regex", "tokenizers", "spacy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return found


def _normalised(text: str, description: dict) -> str:
    form = description["normal_form"]
    text = unicodedata.normalize(form, text) if form else text
    if not description["lowercase"]:
        return text
    return unicodedata.normalize(form, text.lower()) if form else text.lower()


def _splitter(unit: str, language: str) -> Callable[[str], list[str]]:
    """Returns the function that splits a text into tokens; subwords have their own model instead."""
    if unit != "spacy":
        return _SPLIT.get(unit, list)
    tokenizer = _spacy_tokenizer(language)
    return lambda text: [token.text for token in tokenizer(text)]


@functools.cache
def _spacy_tokenizer(language: str):
    try:
        import spacy  # only here: it takes a second, and few need it
    except ImportError as error:
        raise UserError(f"unit: 'spacy' needs the package spacy; pip install spacy ({error})") from None
    try:
        return spacy.blank(language).tokenizer
    except Exception as error:  # an unknown language fails in many ways
        absent = getattr(error.__cause__ or error, "name", None) or ""
        if isinstance(error, ImportError) and not absent.startswith("spacy.lang"):
            raise UserError(f"language: spaCy's rules for {language!r} need another package: {error}") from None
        raise UserError(f"language: spaCy has no rules for {language!r}; give a code such as 'de' or 'en'") from None


def _numbered(
    texts: Iterable[str], description: dict, spacing: SpacingCounts | None = None
) -> tuple[list[str], Ragged]:
    """The different tokens of texts, and each text as their numbers, in the order of its ids."""
    split, step = _splitter(description["unit"], description["language"]), -1 if description["reverse"] else 1
    numbers: dict[str, int] = collections.defaultdict(itertools.count().__next__)

    def rows() -> Iterator[list[int]]:
        for text in texts:
            text = _normalised(text, description)
            tokens = split(text)
            if spacing is not None:
                spacing.add(text, tokens)
            yield [numbers[token] for token in tokens][::step]

    found = Ragged.of(rows())
    return list(numbers), found


def _unseen_share(texts: Iterable[str], description: dict) -> float:
    """Returns the share of texts with a token that no other text has: held out, they would have an unseen token."""
    counts: collections.Counter[str] = collections.Counter()
    split = _splitter(description["unit"], description["language"])
    for text in texts:
        counts.update(set(split(_normalised(text, description))))
    found = [any(counts[token] == 1 for token in split(_normalised(text, description))) for text in texts]
    return sum(found) / max(1, len(found))


def _train_subwords(texts: Iterable[str], size: int) -> str:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=_SPECIAL[UNK]))
    pieces = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = pieces.Sequence([pieces.Metaspace(), pieces.Punctuation("isolated")])
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=max(size, 0), special_tokens=list(_SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if (needed := tokenizer.get_vocab_size()) > size:
        raise UserError(f"size: {size} is too small: the characters of the data and the special tokens are {needed}")
    return tokenizer.to_str()
