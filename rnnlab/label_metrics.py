"""Scores of labels and numbers. Imports only numpy, and seqeval to score entities."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Confusion(NamedTuple):
    """How often each class (row) was predicted as each class (column), `[classes, classes]`."""

    counts: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, predictions: np.ndarray, classes: int) -> "Confusion":
        """Counts the ids `[examples]` of true and predicted classes."""
        return cls(np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes))

    @property
    def accuracy(self) -> float:
        """The percentage of examples that are classified correctly."""
        return 100 * float(np.trace(self.counts)) / max(1, int(self.counts.sum()))

    @property
    def precision(self) -> np.ndarray:
        """The percentage of the predictions of each class that are correct; 0 without predictions."""
        return 100 * np.diag(self.counts) / np.maximum(1, self.counts.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """The percentage of the examples of each class that are classified correctly; 0 without examples."""
        return 100 * np.diag(self.counts) / np.maximum(1, self.counts.sum(1))

    @property
    def f1(self) -> np.ndarray:
        """The harmonic mean of precision and recall of each class, in percent."""
        return 200 * np.diag(self.counts) / np.maximum(1, self.counts.sum(0) + self.counts.sum(1))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur among labels or predictions, as in scikit-learn, in percent."""
        occur = (self.counts.sum(0) + self.counts.sum(1)) > 0
        return float(self.f1[occur].mean()) if occur.any() else 0.0


def entity_f1(labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> float:
    """Computes the F1 of whole entities, in percent, as conlleval and seqeval do (Nakayama 2018).

    Args:
      labels, predictions: the IOB2 tags of each sentence.
    """
    import warnings

    from seqeval.metrics import f1_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where no entity was predicted, which is a score of 0
        return 100 * float(f1_score(list(map(list, labels)), list(map(list, predictions))))


def frame_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Computes the percentage TP / (TP + FP + FN) over all labels of all steps (Bay, Ehmann and Downie 2009).

    Args:
      labels, predictions: on or off, `[steps, labels]`.
    """
    either = np.logical_or(labels, predictions).sum()
    return 100 * float(np.logical_and(labels, predictions).sum()) / max(1, int(either))


def squared_and_absolute(labels: np.ndarray, predictions: np.ndarray) -> tuple[float, float]:
    """Computes the mean squared and the mean absolute error over all numbers."""
    differences = predictions.astype(np.float64) - labels
    return float(np.mean(differences**2)), float(np.mean(np.abs(differences)))
