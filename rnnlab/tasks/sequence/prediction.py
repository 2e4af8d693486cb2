"""The predictions of a trained model for a file of sequences."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rnnlab.config import split_names
from rnnlab.data.sequences.base import read_stream
from rnnlab.data.sequences.examples import Examples
from rnnlab.errors import UserError
from rnnlab.printing import to_csv
from rnnlab.tasks.base import ModelParams, Predictor
from rnnlab.tasks.sequence.evaluation import Evaluator
from rnnlab.tasks.sequence.task import SequenceTask

_PLACE = "standard input"


class FilePredictor(Predictor):
    """Predicts answers for a file of the training format; answers in it are ignored.

    One answer per sequence is a line: a class, or numbers separated by commas. Tags are lines of a word, a TAB and its
    tag, with an empty line after each sentence. Other per-step answers are a CSV: the number of the sequence and of the
    step, from 1, and the class or the probability of each label.

    Args:
      task: the task of the model.
      params: of its model.
      n_best: for classes, the n most likely, each with its probability; 0 gives only the most likely.
    """

    takes_whole = True

    def __init__(self, task: SequenceTask, params: ModelParams, *, n_best: int = 0):
        if n_best < 0:
            raise UserError(f"n_best: {n_best} is not allowed; it must be 0 or above")
        self._task, self._params, self._n_best = task, params, n_best
        self._evaluator, self._remarks = Evaluator(task), list[str]()

    def __call__(self, lines: Sequence[bytes], first: int) -> list[str]:
        """Returns the lines of the answer to one file."""
        (content,) = lines
        examples = read_stream(self._task.config.data, content, _PLACE)._replace(answers=None)
        rows = self._task.encode(examples)
        if unknown := self._task.known.inputs.unknown(rows):
            self._remarks.append(f"{100 * unknown:.2f} % of the tokens are unknown")
        self._remarks += examples.remarks
        return list(self._written(examples, self._evaluator.outputs(self._params, rows)))

    def _written(self, examples: Examples, outputs: list[np.ndarray]) -> Iterator[str]:
        answer, data = self._task.answer, self._task.config.data
        if not answer.per_step:
            for output in outputs:
                yield from answer.written(output, n_best=self._n_best)
        elif data.name == "tagged":
            for words, output in zip(examples.inputs, outputs, strict=True):
                lines = answer.written(output, n_best=self._n_best)
                yield from (f"{word}\t{line}" for word, line in zip(words, lines, strict=True))
                yield ""
        else:
            rows: list[list[Any]] = [["sequence", "step", *answer.columns(split_names(data.columns.answer))]]
            for number, output in enumerate(outputs, start=1):
                answered = enumerate(answer.cells(output, n_best=self._n_best), start=1)
                rows += [[number, step, *cells] for step, cells in answered]
            yield from to_csv(rows).splitlines()

    def remarks(self) -> Iterator[str]:
        """Yields what to log on the files since the last call."""
        remarks, self._remarks = self._remarks, []
        yield from remarks
