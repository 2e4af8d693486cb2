"""The series of a forecasting config, and the rows that each split predicts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rnnlab.data.example import SPLITS
from rnnlab.data.sequences.base import Examples, digest, has_split, read_split
from rnnlab.data.sequences.scaler import Scaler
from rnnlab.data.windows import Parts, Span, Windows
from rnnlab.errors import UserError
from rnnlab.tasks.sequence.features import check_number, match_features


class Part(NamedTuple):
    """Series, `[steps, channels]` each, the rows of each that a split predicts, and the place of the first one."""

    series: list[np.ndarray]
    spans: list[Span]
    examples: Examples


class Series(NamedTuple):
    """The series of all splits.

    Attributes:
      splits: the part of each split.
      names: of the channels, if the data have names.
      digests: of the contents, by the split that names them.
      remarks: treatments of the data with their counts, a line each.
    """

    splits: dict[str, Part]
    names: tuple[str, ...]
    digests: dict[str, str]
    remarks: tuple[str, ...]

    def scaler(self) -> Scaler:
        """Computes mean and deviation of each channel over the training rows.

        Raises:
          UserError: a channel has no value in them.
        """
        train = self.splits["train"]
        rows = [own[: span.end] for own, span in zip(train.series, train.spans, strict=True)]
        without = np.logical_and.reduce([np.isnan(own).all(0) for own in rows])
        if without.any():
            channel = int(np.argmax(without))
            raise UserError(
                f"{train.examples.places(0)}: channel {self.names[channel] if self.names else channel + 1} has no "
                "value in the training rows; exclude it by config.data.columns.inputs, or give it some"
            )
        return Scaler.learn(rows)


class Standard(NamedTuple):
    """Converts numbers of series to those of the model, and back.

    Attributes:
      learnt: mean and deviation of each channel over the training rows; the mean fills values missing at the start.
      standardise: whether numbers are standardised by these.
    """

    learnt: Scaler
    standardise: bool

    @property
    def scaler(self) -> Scaler:
        """The scaler to apply after filling."""
        if self.standardise:
            return self.learnt
        return Scaler(np.zeros_like(self.learnt.mean), np.ones_like(self.learnt.deviation))

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Converts rows `[steps, channels]` to the numbers of the model, with missing values filled."""
        return self.scaler.apply(self.learnt.fill(rows))


def read_series(data: ConfigDict) -> Series:
    """Reads the series of all splits.

    If there is only a train file, each of its series is split by `data.rows`; else each file is a split, and without a
    validation file the last `data.validation_share` of the rows of each training series is the validation split.

    Raises:
      UserError: data that cannot be read, other channels than in train, or rows that cannot be split.
    """
    read = {split: read_split(data, split) for split in SPLITS if has_split(data, split)}
    train = read["train"]
    channels = train.inputs[0].shape[1]
    check_number(train, channels, there=train.places(0), unit="channel")
    read = {split: match_features(own, train.names, channels, unit="channel") for split, own in read.items()}
    parts = {split: Part(own.inputs, [Span(0, len(rows)) for rows in own.inputs], own) for split, own in read.items()}
    remarks = [remark for own in read.values() for remark in (*own.remarks, *_uneven(own))]
    if len(read) == 1:
        parts = _divided(data, train)
        remarks += _unused(parts)
    elif "validation" not in read:
        parts |= _held_out(data, train)
    digests = {split: digest(examples) for split, examples in read.items()}
    once = tuple(dict.fromkeys(remarks))  # splits of one file share its remarks
    return Series({split: parts[split] for split in SPLITS if split in parts}, train.names, digests, once)


def _uneven(examples: Examples) -> Iterator[str]:
    """Yields remarks on times that are not evenly spaced, which windows ignore."""
    for number, dt in enumerate(examples.dt or ()):
        usual = float(np.median(dt[1:])) if len(dt) > 1 else 0.0
        if others := int((~np.isclose(dt[1:], usual, rtol=1e-3)).sum()):
            yield (
                f"{examples.places(number)}: {others:,} of {len(dt) - 1:,} steps are longer or shorter than the usual "
                f"{usual:g}; windows treat all steps as evenly spaced"
            )


def _divided(data: ConfigDict, train: Examples) -> dict[str, Part]:
    division = Parts.read(data.rows)
    spans: dict[str, list[Span]] = {split: [] for split in SPLITS}
    for number, rows in enumerate(train.inputs):
        try:
            found = division.spans(len(rows))
        except ValueError as error:
            raise UserError(f"config.data.rows: {data.rows!r} of {train.places(number)}: {error}") from None
        for split, span in zip(SPLITS, found, strict=True):
            spans[split].append(span)
    names = SPLITS if division.test else SPLITS[:-1]
    return {split: Part(train.inputs, spans[split], train) for split in names}


def _unused(parts: dict[str, Part]) -> Iterator[str]:
    last = list(parts.values())[-1]
    unused = sum(len(rows) - span.end for rows, span in zip(last.series, last.spans, strict=True))
    if unused:
        yield f"{last.examples.places(0)}: by config.data.rows the last {unused:,} rows belong to no split"


def _held_out(data: ConfigDict, train: Examples) -> dict[str, Part]:
    """Splits off the last share of the rows of each series for validation."""
    if not data.validation_share:
        raise UserError(
            "config.data.validation_share: 0 is not allowed without config.data.files.validation; the best step is "
            "selected on validation"
        )
    cuts = [len(rows) - round(data.validation_share * len(rows)) for rows in train.inputs]
    spans = [Span(cut, len(rows)) for cut, rows in zip(cuts, train.inputs, strict=True)]
    return {
        "train": Part(train.inputs, [Span(0, cut) for cut in cuts], train),
        "validation": Part(train.inputs, spans, train),
    }


def make_windows(part: Part, split: str, standard: Standard, data: ConfigDict) -> Windows:
    """Makes every window of a split, of standardised numbers; filled values are read, but not predicted.

    Raises:
      UserError: no window.
    """
    series, missing = [standard.apply(rows) for rows in part.series], [np.isnan(rows) for rows in part.series]
    gaps = missing if any(each.any() for each in missing) else None
    windows = Windows(series, part.spans, data.look_back, data.horizon, gaps)
    if not len(windows):
        there = max(end - max(0, first - data.look_back) for first, end in part.spans)
        if there >= data.look_back + data.horizon:
            raise UserError(f"{part.examples.places(0)}: all values that the {split} split predicts are missing")
        raise UserError(
            f"config.data.horizon: a look-back of {data.look_back} and a horizon of {data.horizon} need "
            f"{data.look_back + data.horizon:,} rows; the longest series of the {split} split "
            f"({part.examples.places(0)}) has {max(0, there):,}, with those before it that may be read"
        )
    return windows
