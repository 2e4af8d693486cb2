"""The report of a finished run's answers: samples, the confusion matrix, music."""

import pathlib

import numpy as np

from rnnlab.data.sequences.examples import Examples
from rnnlab.files import write_text
from rnnlab.label_metrics import Confusion
from rnnlab.pictures import drawable, picture, survived
from rnnlab.printing import to_csv
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.sequence.answers import Classes, LabelsPerStep
from rnnlab.tasks.sequence.evaluation import Evaluator
from rnnlab.tasks.sequence.task import SequenceTask
from rnnlab.tasks.shown import Sample, Shown

_DRAWN = 50  # classes, up to which the confusion matrix is drawn
_NUMBERED = 20  # classes, up to which its cells show their counts
_SHOWN = 60  # characters of a sample


def show_samples(task: SequenceTask, params: ModelParams) -> Shown:
    """Predicts `evaluation.samples` answers of the test split, and draws the confusion matrix or, for music, the labels
    of a sequence."""
    split = task.final_split
    examples, outputs = task.examples[split], Evaluator(task).outputs(params, task.rows(split))
    labels = task.answer.encode(examples)
    if isinstance(task.answer, LabelsPerStep):
        _draw_labels(task.workdir / "labels.png", labels[0], outputs[0])
        return Shown(pictures={"labels.png": f"labels of the first sequence of {split}, and their probabilities"})
    pictures = {}
    if isinstance(task.answer, Classes):
        _write_confusion(task.workdir, task.answer.labels, task.answer.confusion(outputs, labels))
        pictures = {"confusion.png": f"confusion matrix of {split}"}
    make = Sample.compared if isinstance(task.answer, Classes) else Sample
    samples = [
        make(_shown(examples, number), " ".join(task.answer.written(output)), [" ".join(task.answer.shown(label))])
        for number, output, label in zip(range(task.config.evaluation.samples), outputs, labels, strict=False)
    ]
    return Shown(samples, pictures)


def _shown(examples: Examples, number: int) -> str:
    """Returns the start of a text or of a sentence, or the place of numbers."""
    read = examples.inputs[number]
    if isinstance(read, np.ndarray):
        return examples.places(number)[-_SHOWN:]
    return (read if isinstance(read, str) else " ".join(read))[:_SHOWN]


def _write_confusion(workdir: pathlib.Path, labels: list[str], found: Confusion) -> None:
    """Writes `confusion.csv`, a row for each class and a column for each prediction, a picture of it, and `classes.csv`
    with precision, recall and F1."""
    counts = [[label, *row] for label, row in zip(labels, found.counts.tolist(), strict=True)]
    write_text(workdir / "confusion.csv", to_csv([["class", *labels], *counts]))
    scores = zip(labels, found.counts.sum(1).tolist(), found.precision, found.recall, found.f1, strict=True)
    write_text(workdir / "classes.csv", to_csv([("class", "examples", "precision", "recall", "f1"), *scores]))
    if len(labels) <= _DRAWN:
        with survived(workdir / "confusion.png"):
            _draw_confusion(workdir / "confusion.png", labels, found)


def _draw_confusion(path: pathlib.Path, labels: list[str], found: Confusion) -> None:
    size = max(3.5, 0.4 * len(labels) + 1.5)
    names = [drawable(label) for label in labels]
    share = found.counts / np.maximum(1, found.counts.sum(1, keepdims=True))
    with picture(path, size + 1, size) as figure:
        axis = figure.subplots()
        image = axis.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
        figure.colorbar(image, ax=axis, label="% of the class")
        axis.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="predicted", ylabel="class", title=f"accuracy {found.accuracy:.2f} %")
        if len(labels) <= _NUMBERED:
            for (row, column), count in np.ndenumerate(found.counts):
                shade = "white" if share[row, column] > 0.5 else "black"
                if count:
                    axis.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=7)


def _draw_labels(path: pathlib.Path, labels: np.ndarray, logits: np.ndarray) -> None:
    """Draws the labels of a sequence above their predicted probabilities, `[steps, labels]` both."""
    p = 1 / (1 + np.exp(-logits))
    with survived(path), picture(path, 9, 6) as figure:
        for axis, values, title in zip(
            figure.subplots(2, sharex=True), (labels, p), ("labels", "predicted"), strict=True
        ):
            image = axis.imshow(values.T, cmap="Greys", vmin=0, vmax=1, aspect="auto", origin="lower")
            axis.set(ylabel="label", title=title)
            figure.colorbar(image, ax=axis, label="probability")
        axis.set(xlabel="step")
