"""The kinds of answers: their statistics in training, losses, scores, and the format of predictions.

An output of the model belongs to one example: `[out]`, or `[steps, out]` for one answer per step.
"""

import abc
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from rnnlab.data.sequences.examples import Examples, counted
from rnnlab.errors import UserError
from rnnlab.label_metrics import Confusion, entity_f1, frame_accuracy, squared_and_absolute
from rnnlab.losses import binary_cross_entropy, cross_entropy, length_weights, squared_error
from rnnlab.tasks.base import Scores
from rnnlab.tasks.sequence.rows import SequenceBatch

_FEW = 20  # classes, up to which the scores include the F1 of each
Learnt = dict[str, Any]  # statistics of the answers in training, representable in JSON
Outputs = Sequence[np.ndarray]


class Answer(abc.ABC):
    """One kind of answer.

    Args:
      learnt: from `learn`.

    Attributes:
      per_step: whether there is one at each step.
      metrics: the scores in addition to the loss; whether lower is better.
      out_features: numbers of an output.
      separator: between the cells of a line.
    """

    metrics: ClassVar[dict[str, bool]]
    separator: ClassVar[str] = ","
    per_step: bool = False

    def __init__(self, learnt: Learnt):
        self.learnt = learnt

    @classmethod
    @abc.abstractmethod
    def learn(cls, examples: Examples) -> Learnt:
        """Collects statistics of the answers in training.

        Raises:
          UserError: answers from which nothing can be learnt.
        """

    @property
    @abc.abstractmethod
    def out_features(self) -> int:
        """The numbers of an output."""

    @abc.abstractmethod
    def encode(self, examples: Examples) -> list[np.ndarray]:
        """Encodes the answer of each example.

        Raises:
          UserError: an answer that does not occur in training, with its place.
        """

    @abc.abstractmethod
    def loss(self, outputs: Array, batch: SequenceBatch, training: Any) -> tuple[Array, Array]:
        """Computes the sum of the losses of a batch and its divisor; `training` is the config's part, or None in
        evaluation."""

    @abc.abstractmethod
    def scores(self, outputs: Outputs, labels: Outputs, *, final: bool) -> Scores:
        """Computes `loss` and the metrics of encoded answers; if `final`, also those of each class."""

    @abc.abstractmethod
    def cells(self, output: np.ndarray, *, n_best: int = 0) -> list[list[str]]:
        """Writes the prediction of an example: the cells of a row for each answer."""

    def written(self, output: np.ndarray, *, n_best: int = 0) -> list[str]:
        """Writes the same as a line for each answer."""
        return [self.separator.join(cells) for cells in self.cells(output, n_best=n_best)]

    def columns(self, names: Sequence[str]) -> list[str]:
        """Names the columns of `cells`; `names` are those of the config."""
        return ["label"]

    def shown(self, label: np.ndarray) -> list[str]:
        """Writes an encoded answer as `written` does a prediction."""
        return self.written(label)

    def warnings(self) -> Iterator[str]:
        """Yields remarks on answers that may be hard to learn."""
        yield from ()


class Classes(Answer):
    """A class for each example, or with `per_step` for each of its steps."""

    separator: ClassVar = "\t"
    metrics: ClassVar = {"accuracy": False, "macro_f1": False}

    @classmethod
    def learn(cls, examples: Examples) -> Learnt:
        """Collects the classes and how often each occurs.

        Raises:
          UserError: fewer than two classes.
        """
        counts = Counter(label for labels in _each(examples) for label in labels)
        if len(counts) < 2:
            only = next(iter(counts), None)
            raise UserError(f"{examples.places(0)}: every example of train has the label {only!r}; two are needed")
        try:
            labels = sorted(counts, key=float)
        except ValueError:
            labels = sorted(counts)
        return {"labels": labels, "counts": [counts[label] for label in labels]}

    @property
    def labels(self) -> list[str]:
        """The classes."""
        return self.learnt["labels"]

    @property
    def out_features(self) -> int:
        """Their number."""
        return len(self.labels)

    def encode(self, examples: Examples) -> list[np.ndarray]:
        """Returns the number of each class, `[]` or `[steps]`.

        Raises:
          UserError: a label that train does not have, with its place.
        """
        ids, found = {label: i for i, label in enumerate(self.labels)}, []
        for number, labels in enumerate(_each(examples)):
            for label in labels:
                if label not in ids:
                    raise UserError(
                        f"{examples.places(number)}: the label {label!r} does not occur in train; "
                        f"it has {', '.join(map(repr, self.labels[:_FEW]))}{', ...' if len(ids) > _FEW else ''}"
                    )
            encoded = np.array([ids[label] for label in labels], np.int32)
            found.append(encoded if self.per_step else encoded[0])
        return found

    def loss(self, outputs: Array, batch: SequenceBatch, training: Any) -> tuple[Array, Array]:
        """Computes the cross-entropy; in training smoothed and weighted by class, by the config."""
        weights = (length_weights(batch.seq_lengths, len(outputs)) if self.per_step else batch.seq_lengths > 0) * 1.0
        if training is not None and training.class_weights:
            counts = np.array(self.learnt["counts"], np.float32)
            rarity = counts**-training.class_weights
            weights *= jnp.asarray(rarity * counts.sum() / (counts * rarity).sum())[batch.labels]
        smoothing = 0.0 if training is None else training.label_smoothing
        return cross_entropy(outputs, batch.labels, weights, smoothing=smoothing), weights.sum()

    def scores(self, outputs: Outputs, labels: Outputs, *, final: bool) -> Scores:
        """Computes `loss`, `accuracy` and `macro_f1`; if `final`, for few classes also the F1 of each."""
        logits, right = self._flat(outputs, labels)
        found: Scores = {"loss": float(-_log_softmax(logits)[np.arange(len(right)), right].mean())}
        counts = Confusion.of(right, logits.argmax(-1), self.out_features)
        found |= {"accuracy": counts.accuracy, "macro_f1": counts.macro_f1}
        if final and self.out_features <= _FEW:
            found |= {f"f1_{label}": float(f1) for label, f1 in zip(self.labels, counts.f1, strict=True)}
        return found

    def confusion(self, outputs: Outputs, labels: Outputs) -> Confusion:
        """Counts true and predicted classes."""
        logits, right = self._flat(outputs, labels)
        return Confusion.of(right, logits.argmax(-1), self.out_features)

    def _flat(self, outputs: Outputs, labels: Outputs) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[answers, classes]` and classes `[answers]`."""
        join = np.concatenate if self.per_step else np.stack
        return join(outputs), join(labels).astype(np.int64)

    def cells(self, output: np.ndarray, *, n_best: int = 0) -> list[list[str]]:
        """Writes the most likely class, or the `n_best` of them, each with its probability."""
        rows = []
        for logits in np.atleast_2d(output):
            best = np.argsort(-logits, kind="stable")[: n_best or 1]
            p = np.exp(_log_softmax(logits))
            shown = [[self.labels[i], f"{p[i]:.6f}"] if n_best else [self.labels[i]] for i in best]
            rows.append([part for pair in shown for part in pair])
        return rows

    def shown(self, label: np.ndarray) -> list[str]:
        """Returns the class, or that of each step."""
        return [self.labels[i] for i in np.atleast_1d(label)]

    def warnings(self) -> Iterator[str]:
        """Yields the classes with a single example."""
        single = [label for label, count in zip(self.labels, self.learnt["counts"], strict=True) if count == 1]
        if single:
            more = f" and {len(single) - _FEW} more" if len(single) > _FEW else ""
            yield f"train has only one example of {', '.join(map(repr, single[:_FEW]))}{more}"


class ClassPerStep(Classes):
    """A class for each step."""

    per_step = True


class Tags(ClassPerStep):
    """Tags of entities in IOB2, one for each word."""

    metrics: ClassVar = ClassPerStep.metrics | {"entity_f1": False}

    def scores(self, outputs: Outputs, labels: Outputs, *, final: bool) -> Scores:
        """Computes the scores of classes, and `entity_f1`."""
        found = super().scores(outputs, labels, final=final)
        read = ([[self.labels[i] for i in ids] for ids in (o.argmax(-1) for o in outputs)],)
        right = [[self.labels[i] for i in ids] for ids in labels]
        return found | {"entity_f1": entity_f1(right, *read)}


class Numbers(Answer):
    """Numbers for each example (regression), standardised for the loss."""

    metrics: ClassVar = {"mse": True, "mae": True}

    @classmethod
    def learn(cls, examples: Examples) -> Learnt:
        """Measures the mean and the deviation of each number.

        Raises:
          UserError: no number, or examples with unequal numbers of them.
        """
        answers = [np.asarray(answer, np.float64) for answer in examples.answers or []]
        _check_number(examples, answers, len(answers[0]), "number", "in the answer", there=examples.places(0))
        values = np.stack(answers)
        deviation = values.std(0)
        return {"mean": values.mean(0).tolist(), "deviation": np.where(deviation > 0, deviation, 1).tolist()}

    @property
    def out_features(self) -> int:
        """How many there are."""
        return len(self.learnt["mean"])

    def encode(self, examples: Examples) -> list[np.ndarray]:
        """Standardises the numbers `[numbers]` of each example.

        Raises:
          UserError: more or fewer numbers than in train, with the place.
        """
        mean, deviation = (np.array(self.learnt[name]) for name in ("mean", "deviation"))
        answers = [np.asarray(answer, np.float64) for answer in examples.answers or []]
        _check_number(examples, answers, self.out_features, "number", "in the answer")
        return [((answer - mean) / deviation).astype(np.float32) for answer in answers]

    def loss(self, outputs: Array, batch: SequenceBatch, training: Any) -> tuple[Array, Array]:
        """Computes the squared error."""
        weights = jnp.broadcast_to((batch.seq_lengths > 0)[:, None], outputs.shape)
        return squared_error(outputs, batch.labels.T, weights), weights.sum().astype(jnp.float32)

    def scores(self, outputs: Outputs, labels: Outputs, *, final: bool) -> Scores:
        """Computes `loss` of standardised numbers, and `mse` and `mae` in the units of the data."""
        loss, _ = squared_and_absolute(np.stack(labels), np.stack(outputs))
        mse, mae = squared_and_absolute(*(np.stack([self._restored(each) for each in v]) for v in (labels, outputs)))
        return {"loss": loss, "mse": mse, "mae": mae}

    def _restored(self, values: np.ndarray) -> np.ndarray:
        return values * np.array(self.learnt["deviation"]) + np.array(self.learnt["mean"])

    def cells(self, output: np.ndarray, *, n_best: int = 0) -> list[list[str]]:
        """Writes the numbers."""
        return [[f"{value:.9g}" for value in self._restored(output)]]


class LabelsPerStep(Answer):
    """Several labels at each step, each on or off (music)."""

    metrics: ClassVar = {"nll_per_step": True, "accuracy": False}
    per_step = True

    @classmethod
    def learn(cls, examples: Examples) -> Learnt:
        """Counts the labels.

        Raises:
          UserError: no label, or examples with unequal numbers of them.
        """
        answers = [np.asarray(answer) for answer in examples.answers or []]
        number = answers[0].shape[1]
        _check_number(examples, answers, number, "label", "a step", there=examples.places(0))
        return {"number": number}

    @property
    def out_features(self) -> int:
        """How many there are."""
        return self.learnt["number"]

    def encode(self, examples: Examples) -> list[np.ndarray]:
        """Returns the labels of each example, `[steps, labels]`.

        Raises:
          UserError: another number of labels than in train, with its place.
        """
        found = [np.asarray(answer, np.float32) for answer in examples.answers or []]
        _check_number(examples, found, self.out_features, "label", "a step")
        return found

    def loss(self, outputs: Array, batch: SequenceBatch, training: Any) -> tuple[Array, Array]:
        """Computes the negative log-likelihood of all labels of a step."""
        weights = length_weights(batch.seq_lengths, len(outputs))
        return binary_cross_entropy(outputs, batch.labels, weights), weights.sum().astype(jnp.float32)

    def scores(self, outputs: Outputs, labels: Outputs, *, final: bool) -> Scores:
        """Computes `loss`, the nats of a step, which is `nll_per_step`, and `accuracy` as in `frame_accuracy`."""
        logits, right = np.concatenate(outputs).astype(np.float64), np.concatenate(labels)
        nll = float((np.logaddexp(0, logits) - right * logits).sum(-1).mean())
        return {"loss": nll, "nll_per_step": nll, "accuracy": frame_accuracy(right > 0, logits > 0)}

    def columns(self, names: Sequence[str]) -> list[str]:
        """Names a column for each label: by the config, or by numbers."""
        if len(names) == self.out_features:
            return list(names)
        return [f"label_{number}" for number in range(1, self.out_features + 1)]

    def cells(self, output: np.ndarray, *, n_best: int = 0) -> list[list[str]]:
        """Writes the probability of each label."""
        return [[f"{p:.6g}" for p in 1 / (1 + np.exp(-step.astype(np.float64)))] for step in output]


def find_answer(data: ConfigDict) -> type[Answer]:
    """Finds the kind of answer of `config.data`."""
    if data.name == "tagged" and data.tag_scheme != "any":
        return Tags
    kinds: dict[str, type[Answer]] = {
        "class": Classes,
        "class_per_step": ClassPerStep,
        "numbers": Numbers,
        "labels_per_step": LabelsPerStep,
    }
    return kinds[data.answer]


def _each(examples: Examples) -> Iterator[Sequence[str]]:
    """Returns the labels of each example: one, or one per step."""
    for answer in examples.answers or []:
        yield (answer,) if isinstance(answer, str) else answer


def _check_number(
    examples: Examples, answers: Outputs, number: int, unit: str, where: str, *, there: str = "train"
) -> None:
    """Refuses an answer `[..., number]` with another number of values (`unit`) than elsewhere, or without any."""
    for i, answer in enumerate(answers):
        own = answer.shape[-1]
        if own != number:
            raise UserError(f"{examples.places(i)}: {counted(own, unit)} {where}, but {there} has {number}")
        if not own:
            raise UserError(f"{examples.places(i)}: no {unit} {where}; at least one is needed")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
