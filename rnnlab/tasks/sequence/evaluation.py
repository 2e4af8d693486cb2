"""A model's outputs for encoded sequences, in their order."""

import jax
import numpy as np

from rnnlab.data.pipeline import evaluation_batches
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.sequence.rows import SequenceRows
from rnnlab.tasks.sequence.task import SequenceTask
from rnnlab.training.placing import fetch, place_rows, whole_rows
from rnnlab.training.step import split_model


class Evaluator:
    """The compiled model of a task; one object serves every split and step."""

    def __init__(self, task: SequenceTask):
        merge, _ = split_model(task.sketch)
        self._task = task
        self._run = jax.jit(lambda params, batch: merge(params)(batch.inputs, batch.seq_lengths, dt=batch.dt))

    def outputs(self, params: ModelParams, rows: SequenceRows) -> list[np.ndarray]:
        """Returns the output of each sequence, `[out]`, or `[steps, out]` for one answer per step."""
        found: list[np.ndarray | None] = [None] * len(rows)
        size = whole_rows(self._task.config.evaluation.batch_size, params)
        for numbers, batch in evaluation_batches(rows, self._task.known.sizes, size):
            outputs = fetch(self._run(params, place_rows(batch._replace(labels=None), params)))
            for column, number in enumerate(numbers):
                per_step = self._task.answer.per_step
                found[number] = outputs[: batch.seq_lengths[column], column] if per_step else outputs[column]
        return found  # type: ignore[return-value]
