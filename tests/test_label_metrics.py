import numpy as np
import pytest
import sklearn.metrics

from rnnlab.label_metrics import Confusion, entity_f1, frame_accuracy, squared_and_absolute

RANDOM = np.random.default_rng(0)


def test_scores_of_classes_are_those_of_scikit_learn():
    labels, predictions = (
        RANDOM.integers(0, 4, 200),
        RANDOM.integers(0, 5, 200),
    )  # class 4 is no label, 5 occurs nowhere
    found = Confusion.of(labels, predictions, 6)
    np.testing.assert_array_equal(found.counts[:5, :5], sklearn.metrics.confusion_matrix(labels, predictions))
    assert found.accuracy == pytest.approx(100 * sklearn.metrics.accuracy_score(labels, predictions))
    assert found.macro_f1 == pytest.approx(100 * sklearn.metrics.f1_score(labels, predictions, average="macro"))
    of_each = sklearn.metrics.precision_recall_fscore_support(labels, predictions, zero_division=0)
    for own, right in zip((found.precision, found.recall, found.f1), of_each, strict=False):
        np.testing.assert_allclose(own[:5], 100 * right)


def test_entities_count_only_whole():
    labels = [["B-x", "I-x", "O", "B-y"], ["O", "B-x"]]
    predictions = [["B-x", "I-x", "O", "O"], ["B-x", "I-x"]]  # one right, one missed, one too long
    assert entity_f1(labels, predictions) == pytest.approx(100 * 2 * 1 / (3 + 2))
    assert entity_f1(labels, [["O"] * 4, ["O"] * 2]) == 0


def test_frame_accuracy_counts_what_is_on_in_either():
    labels, predictions = np.array([[1, 0, 1], [0, 0, 0]]) > 0, np.array([[1, 1, 0], [0, 0, 0]]) > 0
    assert frame_accuracy(labels, predictions) == pytest.approx(100 / 3)


def test_errors_of_numbers():
    labels, predictions = RANDOM.normal(size=(30, 2)), RANDOM.normal(size=(30, 2))
    squared, absolute = squared_and_absolute(labels, predictions)
    assert squared == pytest.approx(sklearn.metrics.mean_squared_error(labels, predictions))
    assert absolute == pytest.approx(sklearn.metrics.mean_absolute_error(labels, predictions))
