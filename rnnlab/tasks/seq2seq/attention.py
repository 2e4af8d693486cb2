"""Attention weights as arrays and pictures."""

import pathlib
from collections.abc import Sequence

import numpy as np

from rnnlab.data.batch import Ids
from rnnlab.data.vocabulary import EOS
from rnnlab.errors import UserError
from rnnlab.pictures import drawable, letters, picture, survived
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.seq2seq.evaluation import Evaluator
from rnnlab.tasks.seq2seq.task import Seq2SeqTask

_LETTER = 0.1  # inches of a letter of a label
_TITLE = 60  # characters of a line of the title
_LABELS = 70  # maximum number of labels of an axis


def find_attention(task: Seq2SeqTask, params: ModelParams, lines: Sequence[str]) -> list[np.ndarray]:
    """Searches the best output of each line, and returns its attention weights, as `Seq2SeqTask.attention`."""
    if task.config.model.attention == "none":
        raise UserError(f"the model of {task.workdir} has no attention")
    evaluator = Evaluator(task, beam_size=task.config.evaluation.beam_size)
    sources = [task.source.encode(line) for line in lines]
    found = [each.tokens[0] for each in evaluator.search(params, sources)]
    return evaluator.attention(params, sources, [tokens[tokens > EOS].tolist() for tokens in found])


def write_attention(
    evaluator: Evaluator,
    params: ModelParams,
    sources: list[list[int]],
    outputs: list[Ids],
    stems: list[pathlib.Path],
    references: Sequence[Sequence[str]] = (),
) -> None:
    """Writes the attention weights of each encoded source and output: the array `[output, source]`, with the row of EOS
    last, as `<stem>.npy`, and a picture of it, with its `references`, as `<stem>.png`. Empty sources are skipped."""
    task = evaluator.task
    rows = [row for row, source in enumerate(sources) if source]
    said = [outputs[row][outputs[row] > EOS].tolist() for row in rows]
    found = evaluator.attention(params, [sources[row] for row in rows], said)
    for row, ids, weights in zip(rows, said, found, strict=True):
        names = task.source.pieces(sources[row]), task.target.pieces([*ids, EOS])
        path = stems[row].with_suffix(".png")
        with survived(path):
            np.save(path.with_suffix(".npy"), weights)
            title = [f"{task.source.decode(sources[row])} → {task.target.decode(ids)}"]
            title += [f"reference: {' | '.join(references[row])}"] if references else []
            _plot_attention(path, weights, *names, title)


def _plot_attention(
    path: pathlib.Path, weights: np.ndarray, source: list[str], target: list[str], title: Sequence[str] = ()
) -> None:
    rows, columns = weights.shape
    source, target = ([drawable(token) for token in tokens] for tokens in (source, target))
    title = [drawable(line, longest=_TITLE) for line in title]
    below, beside = (max(map(letters, names)) for names in (source, target))
    upright = max(map(len, source)) > 1  # horizontal words would overlap
    width = 2.3 + 0.35 * columns + _LETTER * beside
    width = max(width, *(0.4 + _LETTER * letters(line) for line in title), 0)
    height = 1.2 + 0.3 * rows + _LETTER * below * upright + 0.2 * len(title)
    with picture(path, width, height) as figure:
        axis = figure.subplots()
        image = axis.imshow(weights, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        figure.colorbar(image, ax=axis, label="attention weight")
        every_column, every_row = (-(-number // _LABELS) for number in (columns, rows))
        axis.set_xticks(range(0, columns, every_column), source[::every_column], rotation=90 if upright else 0)
        axis.set_yticks(range(0, rows, every_row), target[::every_row])
        axis.set(xlabel="source", ylabel="output")
        figure.suptitle("\n".join(title), fontsize=10)
