"""Encodes inputs by statistics of the training data: numbers standardised, tokens as ids."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rnnlab.cells import find_cell
from rnnlab.data.sequences.examples import Examples
from rnnlab.data.sequences.scaler import Scaler
from rnnlab.data.vocabulary import EOS, UNK, Vocabulary
from rnnlab.errors import UserError
from rnnlab.tasks.sequence.features import check_number, match_features
from rnnlab.tasks.sequence.rows import SequenceRows, Steps

LETTERS = 32  # of a word, at most, for its character encoder
_TEXT = ("unit", "lowercase", "normal_form", "min_count", "size", "language")
_PLAIN = ("standardise", "timed", "interval", "continuous", "steps")  # fields that JSON represents directly


class Inputs(NamedTuple):
    """The encoding of inputs as arrays.

    Attributes:
      names: of the features, if the data have names.
      scaler: of numbers; None for tokens.
      vocabulary: of tokens; None for numbers.
      characters: vocabulary of characters, if words are read.
      standardise: whether numbers are standardised by the scaler; else it only fills missing values.
      timed: whether the data have times.
      interval: the mean time between two steps of training; 0 if times are uninformative or missing.
      continuous: whether the cell steps by these times; every other cell reads them as an additional feature.
      steps: of every sequence, if they are permuted; else 0.
      step_names: of the steps, if the data have names.
    """

    names: tuple[str, ...] = ()
    scaler: Scaler | None = None
    vocabulary: Vocabulary | None = None
    characters: Vocabulary | None = None
    standardise: bool = True
    timed: bool = False
    interval: float = 0.0
    continuous: bool = False
    steps: int = 0
    step_names: tuple[str, ...] = ()

    @classmethod
    def learn(cls, examples: Examples, config: ConfigDict) -> "Inputs":
        """Learns from the training split.

        Raises:
          UserError: invalid options of a vocabulary, or examples with unequal features.
        """
        first = examples.inputs[0]
        if isinstance(first, np.ndarray):
            check_number(examples, first.shape[1], there=examples.places(0))
            return cls(
                examples.names,
                Scaler.learn(examples.inputs),
                standardise=config.data.standardise and not _are_on_or_off(examples.inputs),
                timed=examples.dt is not None,
                interval=_interval(examples),
                continuous=find_cell(config.model.cell).continuous,
                steps=len(first) if config.data.permuted else 0,
                step_names=examples.steps,
            )
        options = {name: config.data[name] for name in _TEXT}
        if isinstance(first, str):
            return cls(vocabulary=_vocabulary(examples.inputs, options))
        words = _vocabulary(list(map(_spaced, examples.inputs)), options | {"unit": "symbol"})
        if not config.model.character_features:
            return cls(vocabulary=words)
        spelled = sorted({word for sentence in examples.inputs for word in sentence})
        return cls(vocabulary=words, characters=Vocabulary.build(spelled, unit="character"))

    @classmethod
    def of(cls, description: dict[str, Any]) -> "Inputs":
        """Makes it from its `description`."""
        scaler = description["scaler"] and Scaler(*map(np.array, description["scaler"]))
        words, characters = (
            description[name] and Vocabulary(description[name]) for name in ("vocabulary", "characters")
        )
        plain = {name: description[name] for name in _PLAIN} | {"step_names": tuple(description["step_names"])}
        return cls(tuple(description["names"]), scaler, words, characters, **plain)

    @property
    def description(self) -> dict[str, Any]:
        """Its contents, in a form that JSON can represent."""
        return {
            "names": list(self.names),
            "step_names": list(self.step_names),
            "scaler": self.scaler and [values.tolist() for values in self.scaler],
            "vocabulary": self.vocabulary and self.vocabulary.description,
            "characters": self.characters and self.characters.description,
        } | {name: getattr(self, name) for name in _PLAIN}

    @property
    def features(self) -> int:
        """The numbers of a step; for tokens the size of the vocabulary."""
        if self.vocabulary is not None:
            return len(self.vocabulary)
        return len(self.scaler.mean) + self._reads_times  # type: ignore[union-attr]

    @property
    def _reads_times(self) -> bool:
        return bool(self.interval) and not self.continuous

    def encode(self, examples: Examples, labels: Steps | np.ndarray | None) -> SequenceRows:
        """Encodes the inputs of examples with encoded answers `labels`.

        Raises:
          UserError: other features than in training, times where training has no times or the reverse, another length
            than the permuted one, or a sequence without steps, with its place.
        """
        for number, each in enumerate(examples.inputs):
            if not isinstance(each, str) and not len(each):
                raise UserError(f"{examples.places(number)}: a sequence without a step")
        if self.vocabulary is None:
            return self._of_numbers(examples, labels)
        if isinstance(examples.inputs[0], str):
            texts = [np.array([*self.vocabulary.encode(text), EOS], np.int32) for text in examples.inputs]
            return SequenceRows(Steps.of(texts), labels)
        encoded = [np.array(self.vocabulary.encode(_spaced(words)), np.int32) for words in examples.inputs]
        characters = None if self.characters is None else Steps.of([self._spelled(words) for words in examples.inputs])
        return SequenceRows(Steps.of(encoded), labels, characters=characters)

    def _of_numbers(self, examples: Examples, labels: Steps | np.ndarray | None) -> SequenceRows:
        assert self.scaler is not None
        examples = match_features(examples, self.names, len(self.scaler.mean))
        self._check_steps(examples)
        scaled = self.scaler.apply if self.standardise else self.scaler.fill
        inputs = Steps.of([scaled(each).astype(np.float32, copy=False) for each in examples.inputs])
        dt = self._dt(examples)
        if dt is None or self.continuous:
            return SequenceRows(inputs, labels, dt=dt)
        return SequenceRows(Steps(np.c_[inputs.values, dt.values], inputs.lengths), labels)

    def _check_steps(self, examples: Examples) -> None:
        """Refuses steps with other names than in training, and a permutation of another length."""
        for own, other in zip(self.step_names, examples.steps, strict=False):
            if own != other:
                raise UserError(f"{examples.places(0)}: the step {other!r} stands where train has {own!r}")
        for number, each in enumerate(examples.inputs):
            if self.steps and len(each) != self.steps:
                raise UserError(
                    f"{examples.places(number)}: a sequence of {len(each)} steps; config.data.permuted needs "
                    f"{self.steps}, as in train"
                )

    def _dt(self, examples: Examples) -> Steps | None:
        """Returns the time since the step before in units of the mean interval; 1 for the first step, where it is
        unknown."""
        if self.timed != (examples.dt is not None):
            found = "no times of steps, but train has times" if self.timed else "times of steps, but train has none"
            raise UserError(f"{examples.places(0)}: {found}")
        if not self.interval or examples.dt is None:
            return None
        return Steps.of([np.r_[1.0, each[1:] / self.interval].astype(np.float32) for each in examples.dt])

    def _spelled(self, words: Sequence[str]) -> np.ndarray:
        assert self.characters is not None
        found = np.zeros((len(words), LETTERS), np.int32)
        for row, word in zip(found, words, strict=True):
            ids = self.characters.encode(word)[:LETTERS]
            row[: len(ids)] = ids
        return found

    def unknown(self, rows: SequenceRows) -> float:
        """Computes the share of tokens that training does not have."""
        return float((rows.inputs.values == UNK).mean()) if self.vocabulary is not None else 0.0

    def remarks(self) -> Iterator[str]:
        """Yields remarks on unused parts of the training data."""
        if self.timed and not self.interval:
            yield "train: no step is later than the one before it; times are ignored"

    def lines(self) -> Iterator[str]:
        """Yields a description."""
        if self.vocabulary is not None:
            yield f"vocabulary: {len(self.vocabulary) - UNK - 1:,} tokens"


def _vocabulary(texts: Sequence[str], options: dict[str, Any]) -> Vocabulary:
    try:
        return Vocabulary.build(texts, **options)
    except UserError as error:
        raise UserError(f"config.data.{error}") from None


def _spaced(words: Sequence[str]) -> str:
    """Joins words with blanks; a blank within a word becomes a no-break space."""
    return " ".join(word.replace(" ", "\u00a0") for word in words)


def _are_on_or_off(inputs: Sequence[np.ndarray]) -> bool:
    """Returns whether all available numbers are 0 or 1; standardised, features that are rarely 1 would become large."""
    return all((np.isin(each, (0, 1)) | np.isnan(each)).all() for each in inputs)


def _interval(examples: Examples) -> float:
    if examples.dt is None:
        return 0.0
    later = [each[1:] for each in examples.dt if len(each) > 1]
    return float(np.concatenate(later).mean()) if later else 0.0
