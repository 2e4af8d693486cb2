"""Reads sequences of any format by the fields of a config.

Of `config.data` these fields are read: `name` (one of `READERS`), `files.{train,validation,test}`, `answer`,
`columns.{inputs,answer,sequence,time}`, `missing`, `tag_scheme`, `test_every`, `permuted` and `chunk`. To add a format,
write a module with a function like the others' `read`, and a line in `READERS`.
"""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from rnnlab.data.example import SPLITS
from rnnlab.data.file_names import list_names
from rnnlab.data.sequences import csv_table, generated, idx, labelled_text, mnist1d, npz, piano_roll, tagged, ts
from rnnlab.data.sequences.examples import Examples, Request, Source, join, make_source, open_source
from rnnlab.data.sequences.parting import chunk_steps, digest, every_nth, held_out, permute_steps
from rnnlab.data.sequences.scaler import Scaler
from rnnlab.errors import UserError

__all__ = ["READERS", "Examples", "Reader", "Scaler", "digest", "has_split", "held_out", "read_split", "read_stream"]

_CLASS, _STEPS = ("class", "numbers"), ("class_per_step", "labels_per_step")


class Reader(NamedTuple):
    """The reader of a format.

    Attributes:
      read: reads the examples of a split from its files.
      answers: the possible kinds of answer.
      splits: names the splits in each of some files, or the available ones of generated data; None if a file is one
        split.
      needs_files: False for generated data.
    """

    read: Callable[[Request, list[Source]], Examples]
    answers: tuple[str, ...]
    splits: Callable[[list[Source]], set[str]] | None = None
    needs_files: bool = True


def _agreed(splits: Callable[[Source], set[str]]) -> Callable[[list[Source]], set[str]]:
    """Names the splits in each of several files, which must be the same: otherwise examples of a file without splits
    would be in all of them, or those of another file in none."""

    def agreed(sources: list[Source]) -> set[str]:
        first, *others = [(source.name, splits(source)) for source in sources]
        for name, found in others:
            if found != first[1]:
                raise UserError(
                    f"{name}: has {_shown(found)}, but {first[0]} has {_shown(first[1])}; the files of "
                    "config.data.files.train must have the same splits, or validation and test need their own files"
                )
        return first[1]

    return agreed


def _shown(splits: set[str]) -> str:
    return f"the splits {', '.join(split for split in SPLITS if split in splits)}" if splits else "no named split"


def _each(read: Callable[[Request, Source], Examples]) -> Callable[[Request, list[Source]], Examples]:
    """Reads several files one by one and joins their examples."""
    return lambda request, sources: join([read(request, source) for source in sources])


READERS: dict[str, Reader] = {
    "ts": Reader(_each(ts.read), (*_CLASS, "forecast")),
    "csv": Reader(_each(csv_table.read), (*_CLASS, *_STEPS, "forecast")),
    "npz": Reader(_each(npz.read), (*_CLASS, *_STEPS, "forecast"), _agreed(npz.splits)),
    "idx": Reader(idx.read, ("class",)),
    "piano_roll": Reader(_each(piano_roll.read), ("labels_per_step",), _agreed(piano_roll.splits)),
    "labelled_text": Reader(_each(labelled_text.read), ("class",)),
    "tagged": Reader(_each(tagged.read), ("class_per_step",)),
    "mnist1d": Reader(mnist1d.read, ("class",), mnist1d.splits, needs_files=False),
    "generated": Reader(generated.read, ("forecast",), generated.splits, needs_files=False),
}


def read_split(data: ConfigDict, split: str) -> Examples:
    """Reads the examples of a split: from its own files, or else from the files of train that contain it.

    With `data.test_every` n every n-th example of train is the test split.

    Raises:
      UserError: no such split; another test split in addition to `data.test_every`; files of train with different
        splits; or an error of the format's module.
    """
    reader = _reader(data)
    names = list_names(data.files[split], data.directory)
    _check_test_every(data, reader)
    if names or split == "train":
        examples = reader.read(Request(data, split), _open(data, reader, names, split))
        if split == "train" and data.test_every:
            examples, _ = every_nth(examples, data.test_every)
    elif split in _held_splits(data, reader):
        examples = reader.read(Request(data, split), _open_train(data, reader))
    elif split == "test" and data.test_every:
        _, examples = every_nth(reader.read(Request(data, "train"), _open_train(data, reader)), data.test_every)
    else:
        raise UserError(f"config.data.files.{split}: '' is not allowed here; it must name a file")
    return _arranged(data, examples)


def has_split(data: ConfigDict, split: str) -> bool:
    """Returns whether `read_split` can read a split, with or without its own file.

    Raises:
      UserError: the files of train cannot be read, or have different splits.
    """
    reader = _reader(data)
    if split == "train" or list_names(data.files[split], data.directory) or (split == "test" and data.test_every):
        return True
    return split in _held_splits(data, reader)


def read_stream(data: ConfigDict, content: bytes, place: str) -> Examples:
    """Reads examples for prediction, in the same format; answers may be missing and are not returned.

    For generated data, the stream is a CSV.

    Args:
      content: plain or compressed.
      place: its name in messages, such as "standard input".

    Raises:
      UserError: as in the format's module.
    """
    reader = _reader(data) if _reader(data).needs_files else READERS["csv"]
    return _arranged(data, reader.read(Request(data, "test", answered=False), [make_source(place, content)]))


def _reader(data: ConfigDict) -> Reader:
    if data.name not in READERS:
        raise UserError(f"config.data.name: {data.name!r} is not allowed; it must be one of {', '.join(READERS)}")
    reader = READERS[data.name]
    if data.answer not in reader.answers:
        raise UserError(
            f"config.data.answer: {data.answer!r} is not allowed with config.data.name={data.name!r}; it must be one "
            f"of {', '.join(reader.answers)}"
        )
    if data.missing not in ("refuse", "fill"):
        raise UserError(f"config.data.missing: {data.missing!r} is not allowed; it must be refuse or fill")
    return reader


def _check_test_every(data: ConfigDict, reader: Reader) -> None:
    """Refuses a second test split, which would take unused examples from train."""
    if not data.test_every:
        return
    if list_names(data.files.test, data.directory):
        there = f"config.data.files.test={data.files.test!r}"
    elif "test" in _held_splits(data, reader):
        source = f"files.train={data.files.train!r}" if reader.needs_files else f"name={data.name!r}"
        there = f"the test split of config.data.{source}"
    else:
        return
    raise UserError(f"config.data.test_every: {data.test_every} is not allowed with {there}; it must be 0")


def _held_splits(data: ConfigDict, reader: Reader) -> set[str]:
    """Names the splits that are read without their own files."""
    return set() if reader.splits is None else reader.splits(_open_train(data, reader))


def _open_train(data: ConfigDict, reader: Reader) -> list[Source]:
    return _open(data, reader, list_names(data.files.train, data.directory), "train")


def _open(data: ConfigDict, reader: Reader, names: list[str], split: str) -> list[Source]:
    if bool(names) != reader.needs_files:
        raise UserError(
            f"config.data.files.{split}: {data.files[split]!r} is not allowed with config.data.name={data.name!r}; it "
            f"must {'name a file' if reader.needs_files else 'be empty'}"
        )
    return [open_source(name) for name in names]


def _arranged(data: ConfigDict, examples: Examples) -> Examples:
    """Puts the steps into the order and the chunks of the config."""
    if data.permuted:
        examples = permute_steps(examples, int(data.permuted))
    return chunk_steps(examples, data.chunk) if data.chunk > 1 else examples
