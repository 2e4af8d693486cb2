"""Between text and ids."""

import collections
import functools
import json
import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterable

import tokenizers

from rnnlab.errors import UserError

PAD, BOS, EOS, UNK = range(4)
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
NORMAL_FORMS = ("", "NFC", "NFD", "NFKC", "NFKD", "auto")
_WORTH_PARTING = 0.01  # share of texts
_WORD = re.compile(r"\w+|[^\w\s]")
_SPLIT: dict[str, Callable[[str], list[str]]] = {
    "character": list,
    "word": _WORD.findall,
    "symbol": lambda text: text.split(" ") if text else [],
}
UNITS = (*_SPLIT, "spacy", "subword")


class Vocabulary:
    """The tokens of one side of a dataset; ids 0 to 3 are padding, start, end and unknown.

    Built by `Vocabulary.build`, read back by `Vocabulary.load`. The units:

        character  code points
        word       runs of letters and digits, and single other signs
        symbol     whatever stands between single spaces
        spacy      words and signs as spaCy's rules for the language part them (needs the package spacy)
        subword    byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) by Hugging Face `tokenizers`
    """

    def __init__(self, description: dict):
        self._description = description
        self.unit: str = description["unit"]
        self._split = _splitter(self.unit, description.get("language", ""))
        self._subwords = tokenizers.Tokenizer.from_str(description["model"]) if self.unit == "subword" else None
        self._reverse: bool = description.get("reverse", False)
        self.tokens: list[str] = description.get("tokens", [])
        self._ids = {token: i for i, token in enumerate(self.tokens) if i >= len(_SPECIAL)}
        if self._subwords is not None:
            self._subwords.encode_special_tokens = True  # a text that holds "<s>" says nothing of a start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._description == other._description

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def build(
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
    ) -> "Vocabulary":
        """Counts the tokens of `texts`.

        Args:
          unit: one of `UNITS`.
          lowercase: fold to lower case first.
          normal_form: Unicode normal form to apply first: NFC, NFD, NFKC, NFKD, or "" for none. "auto" is NFD where it
            would leave fewer texts with an unseen token than NFC does, by 1 in 100 or more (Hangul as jamo), else NFC.
          min_count: rarer tokens become the unknown one (not for subwords).
          size: number of subwords.
          language: of spaCy's rules, "de", say.
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
        texts = list(texts)
        if normal_form == "auto":
            unseen = {form: _unseen_share(texts, description | {"normal_form": form}) for form in ("NFC", "NFD")}
            description["normal_form"] = "NFD" if unseen["NFC"] - unseen["NFD"] >= _WORTH_PARTING else "NFC"
        texts = [_normalised(text, description) for text in texts]
        if unit == "subword":
            return cls(description | {"model": _train_subwords(texts, size)})
        split = _splitter(unit, language)
        counts = collections.Counter(token for text in texts for token in split(text))
        kept = sorted(token for token, count in counts.items() if count >= min_count)
        return cls(description | {"tokens": [*_SPECIAL, *kept]})

    def normalise(self, text: str) -> str:
        """`text` in the case and the normal form of this vocabulary."""
        return _normalised(text, self._description)

    def split(self, text: str) -> list[str]:
        """The tokens of `text` in their order, known or not."""
        text = self.normalise(text)
        return self._split(text) if self._subwords is None else self._subwords.encode(text).tokens

    def encode(self, text: str) -> list[int]:
        """Ids of the tokens of `text`, without start and end; `UNK` for what is not known."""
        if self._subwords is not None:
            ids = self._subwords.encode(self.normalise(text)).ids
        else:
            ids = [self._ids.get(token, UNK) for token in self.split(text)]
        return ids[::-1] if self._reverse else ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; padding, start and end are left out."""
        ids = [int(i) for i in ids if i not in (PAD, BOS, EOS)]
        ids = ids[::-1] if self._reverse else ids
        if self._subwords is not None:
            return self._subwords.decode(ids)
        return ("" if self.unit == "character" else " ").join(self.tokens[i] for i in ids)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The token of each id."""
        if self._subwords is not None:
            return [str(self._subwords.id_to_token(int(i))) for i in ids]
        return [self.tokens[int(i)] for i in ids]

    def __len__(self) -> int:
        return len(self.tokens) if self._subwords is None else self._subwords.get_vocab_size()

    def save(self, path: pathlib.Path) -> None:
        """Writes one JSON file."""
        path.write_text(json.dumps(self._description, ensure_ascii=True), encoding="utf-8")

    @classmethod
    def load(cls, path: pathlib.Path) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing or damaged.
        """
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path}: not a vocabulary: {error}") from None


def _normalised(text: str, description: dict) -> str:
    text = unicodedata.normalize(description["normal_form"], text) if description["normal_form"] else text
    return text.lower() if description["lowercase"] else text


def _splitter(unit: str, language: str) -> Callable[[str], list[str]]:
    """From a text to its tokens; of subwords, which have a model of their own, there is none to find here."""
    if unit != "spacy":
        return _SPLIT.get(unit, list)
    tokenizer = _spacy_tokenizer(language)
    return lambda text: [token.text for token in tokenizer(text)]


@functools.cache
def _spacy_tokenizer(language: str):
    try:
        import spacy  # here alone: it takes a second, and few need it
    except ImportError:
        raise UserError("unit: 'spacy' needs the package spacy; pip install spacy") from None
    try:
        return spacy.blank(language).tokenizer
    except ImportError:
        raise UserError(f"language: spaCy has no rules for {language!r}; give a code such as 'de' or 'en'") from None


def _unseen_share(texts: list[str], description: dict) -> float:
    """The share of texts that hold a token which no other text has: leaving one out, it would be unseen."""
    split = _splitter(description["unit"], description["language"])
    found = [set(split(_normalised(text, description))) for text in texts]
    counts = collections.Counter(token for tokens in found for token in tokens)
    return sum(any(counts[token] == 1 for token in tokens) for tokens in found) / max(1, len(found))


def _train_subwords(texts: list[str], size: int) -> str:
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
