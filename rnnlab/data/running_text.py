"""Running text for language models: files, a TFDS dataset, or the words of a dictionary; and its tokens as one array.

Line breaks are part of the text: the token EOS for words, symbols and subwords, otherwise a character or byte.
"""

import codecs
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnnlab.data.cache import Entry, remembered
from rnnlab.data.cmudict import dictionary_path, read_dictionary, read_splits
from rnnlab.data.example import SPLITS
from rnnlab.data.file_names import list_names
from rnnlab.data.packed import read_packed, unpack
from rnnlab.data.ragged import Ragged
from rnnlab.data.vocabulary import EOS, UNK, Vocabulary, versions
from rnnlab.errors import UserError
from rnnlab.extras import needs

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

_BLOCK = 1 << 16  # bytes of an exact text encoded at a time, plus the rest of a line
_ROWS = 10_000  # rows of a TFDS dataset read at a time
_BREAK = b"\n"
_UTF8 = 4  # maximum bytes of a character
_SLACK = 0.1  # of the smallest share: how far a cut may move to the end of a line or a word


class RunningText:
    """A text, stored as UTF-8.

    Args:
      raw: the text, with LF line ends.
      place: its origin, for messages.
    """

    def __init__(self, raw: bytes, place: str):
        self.raw, self.place = raw, place

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the text."""
        return hashlib.sha256(self.raw).hexdigest()

    @functools.cached_property
    def characters(self) -> int:
        """The number of characters, including line breaks."""
        return sum(len(block) for block in self.blocks())

    def lines(self) -> Iterator[str]:
        """Yields each line with the line break that ends it."""
        start = 0
        while start < len(self.raw):
            end = self.raw.find(_BREAK, start) + 1 or len(self.raw)
            yield _decoded(self.raw[start:end])
            start = end

    def blocks(self) -> Iterator[str]:
        """Yields the text in parts that end with a line, or, if lines are long, between two words or characters."""
        start = 0
        while start < len(self.raw):
            end = _end_of_block(self.raw, start)
            yield _decoded(self.raw[start:end])
            start = end

    def cut(self, shares: Sequence[float], *, within_lines: bool) -> list["RunningText"]:
        """Splits shares of the characters off the end, the last one last.

        Args:
          shares: of the whole text, each from 0 to below 1.
          within_lines: whether a cut may fall between any two characters; else it moves to the nearest end of a line,
            or, if that would change the smallest share by more than a tenth, of a word.

        Returns:
          The rest, then each share.

        Raises:
          UserError: one of them would be empty.
        """
        text, left = _decoded(self.raw), 1.0
        smallest = min((share for share in shares if share), default=0.0)
        slack = 0.0 if within_lines else _SLACK * smallest * len(text)
        ends: list[int] = []
        for share in reversed(shares):
            left -= share
            ends.insert(0, _cut_at(text, round(left * len(text), 6), slack))
        parts = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
        if not all(parts):
            raise UserError(f"{self.place}: a text of {len(text):,} characters is too short for {list(shares)}")
        return [RunningText(part.encode("utf-8", "surrogateescape"), self.place) for part in parts]


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _end_of_block(raw: bytes, start: int) -> int:
    end = start + _BLOCK
    if end >= len(raw):
        return len(raw)
    for mark in (_BREAK, b" "):
        if found := raw.find(mark, end, end + _BLOCK) + 1:
            return found
    within = (back for back in range(_UTF8) if raw[end - back] & 0xC0 != 0x80)
    return end - next(within, 0)  # bytes that are not UTF-8 may be cut anywhere


def _cut_at(text: str, wanted: float, slack: float) -> int:
    """Returns the end of a line nearest to a place, at most `slack` characters from it; else such an end of a word;
    else the place itself."""
    at = int(wanted)
    for mark in ("\n", " "):
        ends = (text.rfind(mark, 0, at) + 1, text.find(mark, max(at - 1, 0)) + 1)
        near = [end for end in ends if 0 < end < len(text) and abs(end - at) <= slack]
        if near:
            return min(near, key=lambda end: abs(end - at))
    return at


# --- from files and sets


def read_text_files(names: Sequence[str], *, any_bytes: bool = False) -> RunningText:
    """Reads and concatenates files, plain or compressed; each starts on a new line.

    Args:
      names: of the files.
      any_bytes: do not change the bytes; else they must be UTF-8, byte-order marks at the start are dropped, and CR LF
        becomes LF.

    Raises:
      UserError: a file that cannot be read, is empty, or is not UTF-8 (with the line).
    """
    found = b""
    for name in names:
        raw = unpack(name, read_packed(name))
        raw = raw if any_bytes else _checked(name, raw)
        if not raw.strip():
            raise UserError(f"{name}: the file is empty; a text is needed")
        found += (_BREAK if found and not found.endswith(_BREAK) else b"") + raw
    return RunningText(found, ", ".join(names))


def _checked(name: str, raw: bytes) -> bytes:
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].split(_BREAK)
        raise UserError(
            f"{name}, line {len(before)}: not UTF-8 (byte {len(before[-1]) + 1}: {error.reason}); "
            "config.data.unit='byte' reads any bytes"
        ) from None
    return raw.replace(b"\r\n", _BREAK)


def _spellings() -> dict[str, Callable[[], RunningText]]:
    splits = read_splits(read_dictionary(dictionary_path()))

    def text(split: str) -> RunningText:
        raw = "".join(f"{word}\n" for word, _ in splits[split]).encode()
        return RunningText(raw, f"cmudict_spelling, {split}")

    return {split: functools.partial(text, split) for split in splits}


def _of_tfds(name: str, prepared: str) -> dict[str, Callable[[], RunningText]]:
    with needs("tfds", f"data.name: {name!r}"):
        import tensorflow_datasets as tfds

        from rnnlab.data.patience import one_line_where_out_of_reach
        from rnnlab.data.prepared import open_prepared
    tfds.disable_progress_bar()

    def make(folder: str) -> "DatasetBuilder":
        try:
            with one_line_where_out_of_reach("data.name", name):
                return tfds.builder(name, data_dir=folder, file_format="array_record")
        except (tfds.core.DatasetNotFoundError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"data.name: unknown text {name!r}; allowed: cmudict_spelling, or a TFDS dataset with a feature 'text' "
                f"({first})"
            ) from None

    builder = open_prepared("data.name", name, prepared, make)
    if "text" not in (builder.info.features or {}):
        raise UserError(f"data.name: TFDS dataset {name!r} has no feature 'text'; a dataset of texts is needed")

    def text(split: str) -> RunningText:
        data, parts = builder.as_data_source(split), []
        for start in range(0, len(data), _ROWS):
            rows = data.__getitems__(list(range(start, min(start + _ROWS, len(data)))))
            parts += [row["text"].rstrip(_BREAK) + _BREAK for row in rows]
        return RunningText(b"".join(parts), f"TFDS dataset {name!r}, {split}")

    return {split: functools.partial(text, split) for split in builder.info.splits if split in SPLITS}


class Texts:
    """The texts of the splits; each is read on demand.

    Args:
      files: `{split: names}` as in `list_names`; if train is among them, they are the whole dataset.
      name: without files: "cmudict_spelling", the words of the CMU dictionary, one per line in a shuffled order, or a
        TFDS dataset with a feature `text` (each row starts on a new line).
      directory, prepared: of the files, as in `list_names`, and of TFDS.
      shares: `{split: share}` of the training text, taken from its end without a validation or test text.
      unit: of the vocabulary, which determines where a text can be split and whether it must be UTF-8.

    Raises:
      UserError: no training or validation text.
    """

    def __init__(
        self,
        files: Mapping[str, str | Sequence[str]],
        *,
        name: str,
        directory: str,
        prepared: str,
        shares: Mapping[str, float],
        unit: str,
    ):
        self._exact = unit in ("character", "byte")
        self._open: Mapping[str, Callable[[], RunningText]]
        given = {split: names for split, names in files.items() if names}
        if given:
            if "train" not in given:
                raise UserError(f"data.files: a file for {next(iter(given))}, but no file for train")
            read = functools.partial(read_text_files, any_bytes=unit == "byte")
            self._open = {split: functools.partial(read, list_names(n, directory)) for split, n in given.items()}
        else:
            self._open = _spellings() if name == "cmudict_spelling" else _of_tfds(name, prepared)
        if "train" not in self._open:
            raise UserError(f"data.name: {name!r} has no split 'train'")
        self._shares = {split: shares[split] for split in SPLITS[1:] if split not in self._open and shares[split]}
        if "validation" not in (*self._open, *self._shares):
            raise UserError("data.validation_share: 0 without a validation text; give one of them")
        self._read: dict[str, RunningText] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits among train, validation and test."""
        return tuple(split for split in SPLITS if split in self._open or split in self._shares)

    def read(self, split: str) -> RunningText:
        """Returns the text of a split.

        Raises:
          UserError: as `read_text_files` and `RunningText.cut`, or the dataset has no text in that split.
        """
        if split not in self._read:
            if split != "train" and split in self._open:
                self._read[split] = self._open[split]()
            else:
                whole, names = self._open["train"](), ["train", *self._shares]
                parts = whole.cut(list(self._shares.values()), within_lines=self._exact) if self._shares else [whole]
                self._read |= dict(zip(names, parts, strict=True))
            if not self._read[split].raw.strip():
                raise UserError(f"{self._read[split].place}: the {split} text is empty")
        return self._read[split]


# --- tokens


class Encoded(NamedTuple):
    """A text as ids `[tokens]`, int32, with the number of its characters."""

    ids: np.ndarray
    characters: int

    @property
    def unknown(self) -> int:
        """The number of unknown tokens."""
        return int((self.ids == UNK).sum())


def build_vocabulary(text: RunningText, options: Mapping[str, Any]) -> Vocabulary:
    """Makes the vocabulary of a training text, or loads it from the user's cache.

    Args:
      text: of the training split.
      options: of `Vocabulary.build_and_encode`.

    Raises:
      UserError: as that function, with the field of the config.
    """

    def make() -> Entry:
        exact = options["unit"] in ("character", "byte")
        try:
            found, rows = Vocabulary.build_and_encode(_Rows(text, exact=exact), **options)
        except UserError as error:
            raise UserError(f"config.data.{error}") from None
        _remember(text, found, lambda: rows)
        return Entry(found.description)

    return Vocabulary(remembered("text_vocabulary", [text.digest, versions(), dict(options)], make).note)


def encode_text(text: RunningText, vocabulary: Vocabulary) -> Encoded:
    """Encodes a text, or loads its ids from the user's cache; the array is read-only."""
    rows = _Rows(text, exact=vocabulary.exact)
    return _remember(text, vocabulary, lambda: Ragged.of(vocabulary.encode(row) for row in rows))


def _remember(text: RunningText, vocabulary: Vocabulary, encode: Callable[[], Ragged]) -> Encoded:
    def make() -> Entry:
        rows = encode()
        ids = rows.values[:-1]
        if not vocabulary.exact:
            ends = np.cumsum(rows.lengths)
            ids = np.insert(ids, ends if text.raw.endswith(_BREAK) else ends[:-1], EOS)
        return Entry(text.characters, {"ids": ids.astype(np.int32)})

    entry = remembered("text", [text.digest, versions(), vocabulary.description], make)
    return Encoded(entry.arrays["ids"], entry.note)


class _Rows:
    """The parts of a text to encode at a time, repeatedly iterable: blocks, or lines without blanks at their ends."""

    def __init__(self, text: RunningText, *, exact: bool):
        self._text, self._exact = text, exact

    def __iter__(self) -> Iterator[str]:
        if self._exact:
            return self._text.blocks()
        return (line.strip() for line in self._text.lines())


def decode_ids(ids: Sequence[int], vocabulary: Vocabulary) -> str:
    """Returns the readable text of ids, including line breaks."""
    lines: list[list[int]] = [[]]
    for token in ids:
        if token == EOS and not vocabulary.exact:
            lines.append([])
        else:
            lines[-1].append(token)
    return "\n".join(vocabulary.decode(line) for line in lines)


def line_break(vocabulary: Vocabulary) -> int | None:
    """Returns the id of the line break; None for a text of characters without line breaks."""
    if not vocabulary.exact:
        return EOS
    found = vocabulary.encode("\n")[0]
    return None if found == UNK else found
