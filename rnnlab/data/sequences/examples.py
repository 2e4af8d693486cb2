"""The interface of every reader: `Examples`, and the files that it reads them from."""

import bisect
import codecs
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rnnlab.data.packed import read_packed, unpack
from rnnlab.errors import UserError

LARGEST = float(np.finfo(np.float32).max)  # of the numbers in files, since models compute in float32
_MISSING = {"", "nan", "na", "?"}  # in lower case


class Examples(NamedTuple):
    """Sequences and their answers, as in their files.

    Attributes:
      inputs: for each example float32 or float64 `[steps, features]`, as exact as the file (a small change of a large
        number is lost in float32), NaN where a value is missing (only with `data.missing="fill"`; `Scaler` fills it);
        for `labelled_text` a text; for `tagged` its words.
      answers: for each example a class; float `[k]` for numbers; a class for each step; for several labels per step
        bool `[steps, labels]`. None for a forecast, and for a stream for prediction.
      dt: for each example float32 `[steps]`, the time since the step before, 0 at the first; None if unknown. The unit
        is the file's; for dates it is seconds.
      places: the place of example i, for messages: "train.csv, line 12".
      names: of the features, if the file has names.
      remarks: treatments of the data with their counts, a line each.
      steps: names of the steps (each example has the first ones), if the file has names.
    """

    inputs: list[Any]
    answers: list[Any] | None
    dt: list[np.ndarray] | None
    places: Callable[[int], str]
    names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


class Source(NamedTuple):
    """A file's name, for messages, and its bytes, decompressed and without a byte-order mark."""

    name: str
    content: bytes

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yields the number and the text of each line, with white space at its ends but without line ends.

        Raises:
          UserError: a line is not UTF-8.
        """
        for number, line in enumerate(self.content.split(b"\n"), start=1):
            yield number, decode(line.removesuffix(b"\r"), f"{self.name}, line {number}")

    def text(self) -> str:
        """Decodes the whole file.

        Raises:
          UserError: a line is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            line = self.content.count(b"\n", 0, error.start) + 1
            raise UserError(f"{self.name}, line {line}: not UTF-8 ({error.reason})") from None


class Request(NamedTuple):
    """A request to a reader.

    Attributes:
      data: `config.data`.
      split: train, validation or test.
      answered: whether to read answers; in a stream for prediction they may be missing, and are ignored.
    """

    data: ConfigDict
    split: str = "train"
    answered: bool = True


def decode(line: bytes, place: str) -> str:
    """Decodes a line.

    Raises:
      UserError: not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: not UTF-8 (byte {error.start}: {error.reason})") from None


def open_source(name: str) -> Source:
    """Reads a file, plain or compressed.

    Raises:
      UserError: it cannot be read, or is empty.
    """
    return make_source(name, read_packed(name))


def make_source(name: str, raw: bytes) -> Source:
    """Decompresses the contents of a file or a stream.

    Raises:
      UserError: damaged, or empty.
    """
    content = unpack(name, raw).removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise UserError(f"{name}: the file is empty; at least one example is needed")
    return Source(name, content)


def listed(names: Sequence[str]) -> str:
    """Lists names of columns or arrays on one line, only the first ones if there are many."""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:12])
    return shown + (f" ... ({len(names)} of them)" if len(names) > 12 else "")


def counted(number: int, noun: str) -> str:
    """Writes a number and a noun with a regular plural: "1 step", "2 steps"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_missing(text: str) -> bool:
    """Returns whether a number or a class is missing: empty, NaN, NA or ?."""
    return text.strip().lower() in _MISSING


def one_line(error: Exception) -> str:
    """Returns the message of a library's error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def join(parts: Sequence[Examples]) -> Examples:
    """Joins the examples of several files into one, in their order.

    Raises:
      UserError: only some have times, the names of features or steps differ, or steps or answers have different numbers
        of values.
    """
    if len(parts) == 1:
        return parts[0]
    starts = list(itertools.accumulate((len(part.inputs) for part in parts), initial=0))
    first = parts[0]
    parts = [first, *(reorder_features(part, first.names) for part in parts[1:])]
    for part in parts[1:]:
        if (part.dt is None) != (first.dt is None):
            timed, untimed = (part, first) if first.dt is None else (first, part)
            raise UserError(f"{timed.places(0)}: its steps have times, those of {untimed.places(0)} have none")
        if part.names != first.names:
            raise UserError(
                f"{part.places(0)}: its features are {listed(part.names) or 'without names'}; those of "
                f"{first.places(0)} are {listed(first.names) or 'without names'}"
            )
        for name, own, wanted in [("steps", part.inputs, first.inputs), ("answers", part.answers, first.answers)]:
            if _width(own) != _width(wanted):
                raise UserError(
                    f"{part.places(0)}: has {name} of {counted(_width(own), 'number')}, but those of "
                    f"{first.places(0)} are of {_width(wanted)}"
                )
    longest = max(parts, key=lambda part: len(part.steps))
    for part in parts:
        if part.steps != longest.steps[: len(part.steps)]:
            raise UserError(f"{part.places(0)}: its steps are other columns than those of {longest.places(0)}")

    def places(i: int) -> str:
        k = bisect.bisect_right(starts, i) - 1
        return parts[k].places(i - starts[k])

    answers = None if first.answers is None else [answer for part in parts for answer in part.answers or ()]
    return Examples(
        inputs=[one for part in parts for one in part.inputs],
        answers=answers,
        dt=None if first.dt is None else [one for part in parts for one in part.dt or ()],
        places=places,
        names=first.names,
        remarks=tuple(remark for part in parts for remark in part.remarks),
        steps=longest.steps,
    )


def reorder_features(examples: Examples, names: tuple[str, ...]) -> Examples:
    """Puts features into the order of `names`, if these are their names; else returns the examples unchanged."""
    if examples.names == names or sorted(examples.names) != sorted(names):
        return examples
    order = [examples.names.index(name) for name in names]
    return examples._replace(inputs=[each[:, order] for each in examples.inputs], names=names)


def _width(values: list[Any] | None) -> int:
    """Returns the size of the last axis of arrays, which is the same for a whole file; 0 for anything else."""
    return values[0].shape[-1] if values and isinstance(values[0], np.ndarray) else 0


def select(examples: Examples, indices: Sequence[int]) -> Examples:
    """Takes some of the examples, with their places."""
    return examples._replace(
        inputs=[examples.inputs[i] for i in indices],
        answers=None if examples.answers is None else [examples.answers[i] for i in indices],
        dt=None if examples.dt is None else [examples.dt[i] for i in indices],
        places=lambda i: examples.places(indices[i]),
    )


def as_views(chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Copies arrays that differ only in their first axis into one; returns its parts."""
    whole = np.concatenate(chunks)
    return np.split(whole, np.cumsum([len(chunk) for chunk in chunks])[:-1])


def check_finite(values: np.ndarray, where: Callable[..., str]) -> None:
    """Refuses a number that is infinite, or outside the range of float32; NaN, a missing value, is allowed.

    Raises:
      UserError: with its place, named by `where` from its indices.
    """
    if (bad := np.abs(values) > LARGEST).any():
        place = where(*np.argwhere(bad)[0].tolist())
        raise UserError(f"{place}: {values[bad][0]:g} is not finite, or too large for float32")


def check_missing(
    request: Request, name: str, inputs: Sequence[np.ndarray], where: Callable[[int, int, int], str]
) -> tuple[str, ...]:
    """Refuses missing values (NaN), or counts those to be filled.

    Args:
      name: of the file.
      inputs: `[steps, features]` each.
      where: names the place of a value from its example, step and feature.

    Returns:
      The remark with the count, if there is anything to fill.

    Raises:
      UserError: a value is missing, and `data.missing` is "refuse".
    """
    count = leading = 0
    for i, sequence in enumerate(inputs):
        missing = np.isnan(sequence)
        if not missing.any():
            continue
        if request.data.missing == "refuse":
            step, feature = np.argwhere(missing)[0]
            raise UserError(
                f"{where(i, int(step), int(feature))}: a value is missing; --config.data.missing=fill fills it with "
                "the last value before it"
            )
        count += int(missing.sum())
        leading += int(np.logical_and.accumulate(missing, axis=0).sum())
    if not count:
        return ()
    return (
        f"{name}: {counted(count, 'missing value')} {'is' if count == 1 else 'are'} filled with the last value before "
        f"in the same sequence; {leading:,} of them, with none before, with the feature's mean in training",
    )
