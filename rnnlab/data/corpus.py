"""A dataset by its name, as splits of text examples."""

from typing import NamedTuple

import tensorflow_datasets as tfds

from rnnlab.data.cmudict import Cmudict
from rnnlab.data.parallel_text import ParallelText
from rnnlab.data.patience import short_patience
from rnnlab.data.published import HOMES, open_published
from rnnlab.errors import UserError

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """A source and its targets: one, or every answer that counts as right."""

    source: str
    targets: tuple[str, ...]


class Corpus:
    """A prepared dataset; splits are read when asked for.

    Args:
      name: "cmudict", "parallel_text", "multi30k", "sigmorphon2020", or any TFDS set with a pair of texts
        ("ted_hrlr_translate/pt_to_en").
      prepared: folder for TFDS's files; empty is TFDS's own choice, `TFDS_DATA_DIR` or ~/tensorflow_datasets.
      files: for "parallel_text", `{split: "source,target" or "pairs.tsv"}`.
      language, directory: for "multi30k" and "sigmorphon2020", as in `open_published`.

    Raises:
      UserError: an unknown name, files that cannot be used, or a set that cannot be reached.
    """

    def __init__(
        self,
        name: str,
        *,
        prepared: str = "",
        files: dict[str, str] | None = None,
        language: str = "",
        directory: str = "",
    ):
        options = {"data_dir": prepared or None, "file_format": "array_record"}
        if name == "cmudict":
            self._builder = Cmudict(**options)
        elif name == "parallel_text":
            given = {split: names for split, names in (files or {}).items() if names}
            if not {"train", "validation"} <= set(given):
                raise UserError("data.files: 'parallel_text' needs files for train and validation (test is optional)")
            self._builder = ParallelText.of_files(given, **options)
        elif name in HOMES:
            self._builder = open_published(name, language, directory, **options)
        else:
            self._builder = _tfds_builder(name, options)
        self.name = name
        tfds.disable_progress_bar()
        with short_patience("data.name", name):
            self._builder.download_and_prepare()
        self._keys = self._builder.info.supervised_keys

    @property
    def splits(self) -> tuple[str, ...]:
        """Which of train, validation and test there are."""
        return tuple(split for split in SPLITS if split in self._builder.info.splits)

    def read(self, split: str) -> list[Example]:
        """The examples of a split, in the order of the prepared files.

        Raises:
          UserError: the dataset has no such split.
        """
        if split not in self.splits:
            raise UserError(f"split {split!r}: dataset {self.name!r} has {', '.join(self.splits)} only")
        source = self._builder.as_data_source(split)
        rows = source.__getitems__(list(range(len(source))))  # many times faster than one by one
        if self._keys is None:
            return [Example(row["source"].decode(), tuple(t.decode() for t in row["targets"])) for row in rows]
        return [Example(row[self._keys[0]].decode(), (row[self._keys[1]].decode(),)) for row in rows]


def _tfds_builder(name: str, options: dict) -> tfds.core.DatasetBuilder:
    try:
        with short_patience("data.name", name):
            builder = tfds.builder(name, **options)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"data.name: unknown dataset {name!r}; allowed: cmudict, parallel_text, {', '.join(HOMES)}, or a TFDS "
            f"translation set ({first})"
        ) from None
    if builder.info.supervised_keys is None:
        raise UserError(f"data.name: TFDS set {name!r} has no pair of texts; a translation set is needed")
    return builder
