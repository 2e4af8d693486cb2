"""The format `.ts` of the UCR and UEA archives (Bagnall et al. 2018, arXiv 1811.00075): a header of lines that start
with @, then an example per line, channels separated by ":", values by ",", its class or number last.

The header fields `@dimensions` (or `@dimension`), `@univariate`, `@timestamps`, `@classLabel` and `@targetLabel` are
used. With timestamps each value is a pair "(time,value)"; the times must be the same in all channels.
"""

import datetime
import re
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from rnnlab.data.sequences.examples import (
    LARGEST,
    Examples,
    Request,
    Source,
    as_views,
    check_finite,
    check_missing,
    counted,
    decode,
    is_missing,
)
from rnnlab.errors import UserError

_TAGS = {"class": "@classLabel", "numbers": "@targetLabel"}  # by `data.answer`
_PAIR = re.compile(r"\(\s*([^(),]+?)\s*,\s*([^(),]+?)\s*\)")
_BETWEEN_CHANNELS = re.compile(r"(?<=\)):|:(?=\()")


class _Header(NamedTuple):
    """The header; `channels` is None and `classes` are empty if it does not specify them."""

    channels: int | None
    timestamps: bool
    answer: str | None  # class or numbers
    classes: frozenset[str]


class _Line(NamedTuple):
    """An example: values `[channels, steps]`, and its times `[steps]` and answer, if available."""

    values: np.ndarray
    times: np.ndarray | None
    answer: str | None


def read(request: Request, source: Source) -> Examples:
    """Reads one file.

    Raises:
      UserError: no header, no example, another kind of answer than `data.answer`; a line with another number of
        channels, channels of unequal lengths, a value that is not a number, a class that the header does not list; a
        missing value, if they are refused.
    """
    lines = _lines(source)
    header, first = _read_header(lines, source.name)
    if request.answered and request.data.answer in _TAGS:
        _check_answer(header.answer, request.data.answer, f"{source.name}, line {first}")
    numbers, examples = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of `np.fromstring`, if it is not a number
        for number, line in lines:
            place = f"{source.name}, line {number}"
            example = _read_line(decode(line, place), header, place, request.answered)
            header = header._replace(channels=len(example.values))
            numbers.append(number)
            examples.append(example)
    if not examples:
        raise UserError(f"{source.name}: no example after @data")

    def places(i: int) -> str:
        return f"{source.name}, line {numbers[i]}"

    inputs = as_views([example.values.T for example in examples])
    return Examples(
        inputs,
        _answers(request, header, examples, places),
        _dt(examples, places) if header.timestamps else None,
        places,
        remarks=check_missing(
            request,
            source.name,
            inputs,
            lambda i, step, channel: f"{places(i)}, channel {channel + 1}, value {step + 1}",
        ),
    )


def _check_answer(there: str | None, wanted: str, place: str) -> None:
    if there is None:
        raise UserError(
            f"{place}: the header has neither @classLabel true nor @targetLabel true; config.data.answer={wanted!r} "
            f"needs {_TAGS[wanted]}"
        )
    if there != wanted:
        raise UserError(
            f"{place}: the header has {_TAGS[there]} true, which needs config.data.answer={there!r}; "
            f"config.data.answer={wanted!r} needs {_TAGS[wanted]}"
        )


def _lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yields lines that are neither blank nor comments, with their numbers."""
    for number, raw in enumerate(source.content.split(b"\n"), start=1):
        line = raw.strip()
        if line and not line.startswith(b"#"):
            yield number, line


def _read_header(lines: Iterator[tuple[int, bytes]], name: str) -> tuple[_Header, int]:
    """Reads up to @data; returns the header and the number of that line."""
    channels, timestamps, answer, classes = None, False, None, frozenset[str]()
    number = 1
    for number, raw in lines:
        place = f"{name}, line {number}"
        line = decode(raw, place)
        if not line.startswith("@"):
            raise UserError(
                f"{place}: a .ts file starts with a header, lines such as '@problemName name' and '@data' last; this "
                "line is neither a header line nor a comment (#)"
            )
        tag, *words = line.split()
        tag = tag.lower()
        if tag == "@data":
            return _Header(channels, timestamps, answer, classes), number
        if tag in ("@dimension", "@dimensions"):
            if len(words) != 1 or not words[0].isdecimal() or not int(words[0]):
                raise UserError(f"{place}: {tag} needs the number of channels")
            channels = int(words[0])
        elif tag == "@univariate" and _is_true(words, tag, place):
            channels = channels or 1
        elif tag == "@timestamps":
            timestamps = _is_true(words, tag, place)
        elif tag == "@classlabel" and _is_true(words[:1], tag, place):
            answer, classes = "class", frozenset(words[1:])
        elif tag == "@targetlabel" and _is_true(words[:1], tag, place):
            answer = "numbers"
    raise UserError(f"{name}, line {number}: the header has no line '@data'")


def _is_true(words: list[str], tag: str, place: str) -> bool:
    if len(words) != 1 or words[0].lower() not in ("true", "false"):
        raise UserError(f"{place}: {tag} needs true or false")
    return words[0].lower() == "true"


def _read_line(text: str, header: _Header, place: str, answered: bool) -> _Line:
    if header.timestamps and not text.startswith("("):
        raise UserError(f"{place}: with @timestamps true there are '(time,value)' between commas")
    parts = _BETWEEN_CHANNELS.split(text) if header.timestamps else text.split(":")
    answer = None
    if header.answer and (answered or _has_answer(parts, header)):
        answer = parts.pop().strip()
    if (header.channels and len(parts) != header.channels) or not parts:
        raise UserError(
            f"{place}: {counted(len(parts), 'channel')}{' and an answer' if header.answer else ''}; the "
            f"header or the line before has {header.channels or 'at least one'}"
        )
    if header.timestamps:
        values, times = _read_pairs(parts, place)
    else:
        values, times = _read_values(parts, place), None
    check_finite(values, lambda channel, step: f"{place}, channel {channel + 1}, value {step + 1}")
    return _Line(values, times, answer)


def _has_answer(parts: list[str], header: _Header) -> bool:
    """Returns whether a line with an optional answer has one."""
    if header.channels:
        return len(parts) > header.channels
    return header.answer == "numbers" or not header.classes or parts[-1].strip() in {"?", *header.classes}


def _read_values(parts: list[str], place: str) -> np.ndarray:
    counts = [part.count(",") + 1 for part in parts]
    if min(counts) != max(counts):
        _raise_unequal(counts, place)
    try:
        values = np.fromstring(",".join(parts).replace("?", "nan"), sep=",")
    except (ValueError, DeprecationWarning):
        values = np.empty(0)
    if len(values) != sum(counts):
        _raise_no_number([part.split(",") for part in parts], place)
    return values.reshape(len(parts), -1)


def _read_pairs(parts: list[str], place: str) -> tuple[np.ndarray, np.ndarray]:
    channels = [_PAIR.findall(part) for part in parts]
    for channel, (part, pairs) in enumerate(zip(parts, channels, strict=True), start=1):
        if not pairs or _PAIR.sub("", part).strip(" ,"):
            raise UserError(
                f"{place}, channel {channel}: with @timestamps true values are '(time,value)' between commas"
            )
    if len({len(pairs) for pairs in channels}) > 1:
        _raise_unequal([len(pairs) for pairs in channels], place)
    times = [[time for time, _ in pairs] for pairs in channels]
    if any(own != times[0] for own in times):
        raise UserError(f"{place}: the channels have different times")
    values = _read_values([",".join(value for _, value in pairs) for pairs in channels], place)
    return values, np.array([_time(text, place) for text in times[0]])


def _time(text: str, place: str) -> float:
    """Parses a number, or a date in ISO format to seconds."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{place}: the time {text!r} is neither a number nor a date such as 2016-07-01 00:00:00"
        ) from None
    return date.replace(tzinfo=date.tzinfo or datetime.UTC).timestamp()


def _raise_unequal(counts: list[int], place: str) -> None:
    channel = next(i for i, count in enumerate(counts) if count != counts[0])
    raise UserError(
        f"{place}: channel {channel + 1} has {counted(counts[channel], 'value')}, channel 1 has {counts[0]}; a step "
        "has a value in each channel, ? where it is missing"
    )


def _raise_no_number(channels: list[list[str]], place: str) -> None:
    for channel, cells in enumerate(channels, start=1):
        for step, cell in enumerate(cells, start=1):
            try:
                float(cell.replace("?", "nan"))
            except ValueError:
                raise UserError(
                    f"{place}, channel {channel}, value {step}: {cell.strip()!r} is not a number; a missing one is ?"
                ) from None
    raise UserError(f"{place}: numbers between commas are needed")


def _answers(request: Request, header: _Header, examples: list[_Line], places: Callable[[int], str]) -> list | None:
    if not request.answered or request.data.answer == "forecast":
        return None
    texts = [example.answer or "" for example in examples]
    if request.data.answer == "numbers":
        return [_target(text, places(i)) for i, text in enumerate(texts)]
    for i, text in enumerate(texts):
        if is_missing(text) and text not in header.classes:
            raise UserError(f"{places(i)}: no class after the last ':', but {text!r}")
        if header.classes and text not in header.classes:
            raise UserError(f"{places(i)}: the header's @classLabel does not list the class {text!r}")
    return texts


def _target(text: str, place: str) -> np.ndarray:
    try:
        number = np.array([float(text)])
    except ValueError:
        number = np.array([np.nan])
    if not (np.abs(number) <= LARGEST).all():
        raise UserError(f"{place}: the answer {text!r} is not a number")
    return number


def _dt(examples: list[_Line], places: Callable[[int], str]) -> list[np.ndarray]:
    dt = []
    for i, example in enumerate(examples):
        times = np.asarray(example.times)
        own = np.diff(times, prepend=times[:1])
        if np.any(own < 0) or not np.isfinite(own).all():
            raise UserError(f"{places(i)}: its times are not in order")
        dt.append(own.astype(np.float32))
    return dt
