"""Reading sequences by the fields of a config, whatever their format.

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
    """How a format is read.

    Attributes:
      read: the examples of a split, of the files that it names.
      answers: the kinds of answer that it may have.
      splits: names the splits that each of some files holds, or, of what is made on the fly, that there are; None where
        a file is one split.
      needs_files: False of what is made on the fly.
    """

    read: Callable[[Request, list[Source]], Examples]
    answers: tuple[str, ...]
    splits: Callable[[list[Source]], set[str]] | None = None
    needs_files: bool = True


def _agreed(splits: Callable[[Source], set[str]]) -> Callable[[list[Source]], set[str]]:
    """Names the splits that each of several files holds, which must be the same: else examples of one file that has no
    splits would be in all of them, or those of another in none."""

    def agreed(sources: list[Source]) -> set[str]:
        first, *others = [(source.name, splits(source)) for source in sources]
        for name, found in others:
            if found != first[1]:
                raise UserError(
                    f"{name}: holds {_shown(found)}, but {first[0]} holds {_shown(first[1])}; the files of "
                    "config.data.files.train must hold the same splits, or validation and test need files of their own"
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
    """Reads the examples of a split: of its own files, or, where it names none, of those of train that hold it.

    With `data.test_every` n every n-th example of train is the test split.

    Raises:
      UserError: there is no such split; with `data.test_every` there is another test split; files of train that hold
        different splits; or what the format's module says.
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
    """Tells whether `read_split` has something to read for a split, without its own file too.

    Raises:
      UserError: the files of train cannot be read, or hold different splits.
    """
    reader = _reader(data)
    if split == "train" or list_names(data.files[split], data.directory) or (split == "test" and data.test_every):
        return True
    return split in _held_splits(data, reader)


def read_stream(data: ConfigDict, content: bytes, place: str) -> Examples:
    """Reads examples for prediction, in the same format; their answers may lack and are not returned.

    What is made on the fly has no format; its stream is a CSV.

    Args:
      content: plain or packed.
      place: what messages call it, such as "standard input".

    Raises:
      UserError: as the format's module says.
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
    """Refuses a second test split, which would take examples from train that nothing reads."""
    if not data.test_every:
        return
    if list_names(data.files.test, data.directory):
        there = f"config.data.files.test={data.files.test!r}"
    elif "test" in _held_splits(data, reader):
        source = f"files.train={data.files.train!r}" if reader.needs_files else f"name={data.name!r}"
        there = f"the test split of config.data.{source}"
    else:
        return
    raise UserError(f"config.data.test_every: {data.test_every} is not allowed beside {there}; it must be 0")


def _held_splits(data: ConfigDict, reader: Reader) -> set[str]:
    """Names the splits that are read without files of their own."""
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
    """Puts the steps into the order and the chunks that the config wants."""
    if data.permuted:
        examples = permute_steps(examples, int(data.permuted))
    return chunk_steps(examples, data.chunk) if data.chunk > 1 else examples
