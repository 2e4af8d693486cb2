"""A dataset by its name, as splits of text examples."""

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from ml_collections import ConfigDict

from rnnlab.data.cache import Entry, remembered
from rnnlab.data.cmudict import dictionary_path, read_dictionary, read_splits
from rnnlab.data.example import SPLITS, Example
from rnnlab.data.file_names import Files, list_names
from rnnlab.data.own_set import OwnSet
from rnnlab.data.parallel_text import ParallelText
from rnnlab.data.published import HOMES, published_files
from rnnlab.errors import UserError
from rnnlab.extras import needs
from rnnlab.own import is_own

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

_NAMED = 8  # maximum number of examples that `Corpus.describe` names
_BLOCK = 10_000  # examples read or hashed at a time


class Corpus:
    """A dataset; each split is read on demand.

    Args:
      name: "cmudict", "parallel_text", "multi30k", "sigmorphon2020", any TFDS set with a pair of texts
        ("ted_hrlr_translate/pt_to_en"), or `module:NAME` or `file.py:NAME`, a function as in `OwnSet`.
      prepared: folder for TFDS's files; empty is TFDS's own choice, `TFDS_DATA_DIR` or ~/tensorflow_datasets.
      files: for "parallel_text", `{split: "source,target", "pairs.tsv" or a list of these names}`.
      language, directory: for "multi30k" and "sigmorphon2020", as in `open_published` and `published_files`; names in
        `files` that are not absolute are also in `directory`.
      validation_share: of the training files, held out if "parallel_text" has no validation files.
      expected: the `digest` of each split with known contents; other contents are refused.
      data: the data config, passed to the user's own function.

    Raises:
      UserError: an unknown name, a function that fails, unusable files, or a dataset that cannot be reached.
    """

    def __init__(
        self,
        name: str,
        *,
        prepared: str = "",
        files: Mapping[str, Files] | None = None,
        language: str = "",
        directory: str = "",
        validation_share: float = 0.0,
        expected: Mapping[str, str] | None = None,
        data: ConfigDict | None = None,
    ):
        self.name, self._expected = name, expected or {}
        self._files: Mapping[str, Files] = {}
        self._open: dict[str, Callable[[], _OfFiles | _Part | _Prepared | _Listed]] = {}
        self._read: dict[str, list[Example]] = {}
        self._digests: dict[str, str] = {}
        if is_own(name):
            own = OwnSet(name, data)
            self._open = {split: functools.partial(_Listed.of, own, split) for split in own.splits}
        elif name == "parallel_text":
            self._files = {split: list_names(names, directory) for split, names in (files or {}).items() if names}
            if not self._files.get("train") or not (self._files.get("validation") or validation_share):
                raise UserError("config.data.files: train is missing, or validation while data.validation_share is 0")
        elif name in HOMES and directory:
            self._files = published_files(name, language, directory)
        elif name == "cmudict":
            splits = read_splits(read_dictionary(dictionary_path()))
            self._open = {split: functools.partial(_Listed, found) for split, found in splits.items()}
        else:
            builder = _open_builder(name, language, prepared)
            self._open = {split: functools.partial(_Prepared, builder, split) for split in builder.info.splits}
        self._open |= {split: functools.partial(_OfFiles, names) for split, names in self._files.items()}
        if name == "parallel_text" and "validation" not in self._files:
            train = self._files["train"]
            self._open |= {
                split: functools.partial(_Part, train, validation_share, held=split == "validation")
                for split in ("train", "validation")
            }

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits among train, validation and test."""
        return tuple(split for split in SPLITS if split in self._open)

    def read(self, split: str) -> list[Example]:
        """Reads the examples of a split: those of files in their order, others in the order of TFDS.

        They are read once and stay in memory.

        Raises:
          UserError: the dataset has no such split, or its contents are not the expected ones.
        """
        if split not in self._read:
            self._read[split] = list(self.stream(split))
        return self._read[split]

    def stream(self, split: str) -> Iterable[Example]:
        """Returns the same examples for repeated iteration; few are in memory as texts at a time, but all of the user's
        own dataset.

        Raises:
          UserError: as `read`.
        """
        if split not in self.splits:
            raise UserError(f"split {split!r}: dataset {self.name!r} has only {', '.join(self.splits)}")
        examples = self._open[split]()
        found = examples.digest()
        if self._expected.get(split, found) != found:
            raise UserError(
                f"{self._place(split)}: the {split} split has changed since the run was started; restore it, or use "
                "another --workdir"
            )
        self._digests[split] = found
        return examples

    def digest(self, split: str) -> str:
        """Returns the SHA-256 of the texts of a split and their order, whatever the files.

        Raises:
          UserError: as `read`.
        """
        if split not in self._digests:
            self.stream(split)
        return self._digests[split]

    def describe(self, split: str, numbers: Sequence[int]) -> str:
        """Names some examples of a split, given their numbers from 0: by their lines, or by their sources if they are
        not from the user's files."""
        more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
        if self._files:
            part = self._open[split]()
            lines = part.lines(numbers[:_NAMED]) if isinstance(part, _Part) else [i + 1 for i in numbers[:_NAMED]]
            return f"{self._place(split)}, lines {', '.join(map(str, lines))}{more}"
        examples = self.read(split)
        return ", ".join(repr(examples[i].source) for i in numbers[:_NAMED]) + more

    def _place(self, split: str) -> str:
        files = self._files.get(split) or self._files.get("train")  # validation may be a share of train
        return " / ".join(list_names(files)) if files else f"dataset {self.name!r}"


class _OfFiles:
    """The examples of files; their digest is cached by the bytes of the files."""

    def __init__(self, names: Files):
        self._pairs = ParallelText(names)

    def __iter__(self) -> Iterator[Example]:
        return (Example(source, (target,)) for source, target in self._pairs)

    def digest(self) -> str:
        return remembered("contents", self._pairs.digests, lambda: Entry(_digest(self))).note


class _Part:
    """The share of the training files that is held out for validation, or the rest: by a hash of each pair, so equal
    pairs fall into the same split, and their order does not matter."""

    def __init__(self, names: Files, share: float, *, held: bool):
        self._pairs, self._share, self._held = ParallelText(names), share, held

    def __iter__(self) -> Iterator[Example]:
        return (Example(source, (target,)) for _, (source, target) in self._numbered())

    def _numbered(self) -> Iterator[tuple[int, tuple[str, str]]]:
        """Yields the pairs of this part with their lines."""
        for line, pair in enumerate(self._pairs, start=1):
            hashed = hashlib.blake2b("\0".join(pair).encode(), digest_size=8).digest()
            if (int.from_bytes(hashed) < self._share * 2**64) is self._held:
                yield line, pair

    def lines(self, numbers: Sequence[int]) -> list[int]:
        """Returns the lines of some of its examples, by their numbers from 0."""
        wanted = set(numbers)
        found = {number: line for number, (line, _) in enumerate(self._numbered()) if number in wanted}
        return [found[number] for number in numbers]

    def digest(self) -> str:
        if next(self._numbered(), None) is None:
            raise UserError(
                f"{' / '.join(self._pairs.names)}: too few lines to hold out a share of {self._share} for "
                "validation; give config.data.files.validation"
            )
        key = [*self._pairs.digests, self._share, self._held]
        return remembered("contents", key, lambda: Entry(_digest(self))).note


class _Listed:
    """Examples in memory."""

    def __init__(self, examples: Iterable[tuple[str, Sequence[str]]]):
        self._examples = [Example(source, tuple(targets)) for source, targets in examples]

    @classmethod
    def of(cls, own: OwnSet, split: str) -> Self:
        """Reads those of the user's own dataset."""
        return cls(own.read(split))

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)

    def digest(self) -> str:
        return _digest(self)


class _Prepared:
    """The examples of a split prepared by TFDS."""

    def __init__(self, builder: "DatasetBuilder", split: str):
        self._data, self._keys = builder.as_data_source(split), builder.info.supervised_keys

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, len(self._data), _BLOCK):
            numbers = range(start, min(start + _BLOCK, len(self._data)))
            for row in self._data.__getitems__(list(numbers)):  # many times faster than one by one
                if self._keys is None:
                    yield Example(row["source"].decode(), tuple(target.decode() for target in row["targets"]))
                else:
                    yield Example(row[self._keys[0]].decode(), (row[self._keys[1]].decode(),))

    def digest(self) -> str:
        return _digest(self)


def _digest(examples: Iterable[Example]) -> str:
    """Returns the SHA-256 of the examples as one JSON list, with only a part in memory at a time."""
    left, found, comma = iter(examples), hashlib.sha256(b"["), b""
    while block := list(itertools.islice(left, _BLOCK)):
        found.update(comma + json.dumps(block)[1:-1].encode())
        comma = b", "
    found.update(b"]")
    return found.hexdigest()


def _open_builder(name: str, language: str, prepared: str) -> "DatasetBuilder":
    with needs("tfds", f"data.name: {name!r}"):
        import tensorflow_datasets as tfds  # half a second, which the user's files and CMUdict do not need

        from rnnlab.data.prepared import open_prepared
        from rnnlab.data.published_builder import open_published
    tfds.disable_progress_bar()

    def make(folder: str) -> "DatasetBuilder":
        options = {"data_dir": folder, "file_format": "array_record"}
        return open_published(name, language, **options) if name in HOMES else _tfds_builder(name, options)

    return open_prepared("data.name", name, prepared, make)


def _tfds_builder(name: str, options: dict) -> "DatasetBuilder":
    import tensorflow_datasets as tfds

    from rnnlab.data.patience import one_line_where_out_of_reach

    try:
        with one_line_where_out_of_reach("data.name", name):
            builder = tfds.builder(name, **options)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"data.name: unknown dataset {name!r}; allowed: cmudict, parallel_text, {', '.join(HOMES)}, a TFDS "
            f"translation dataset, or your own dataset as module:NAME or file.py:NAME ({first})"
        ) from None
    if builder.info.supervised_keys is None:
        raise UserError(f"data.name: TFDS dataset {name!r} has no pair of texts; a translation dataset is needed")
    return builder
