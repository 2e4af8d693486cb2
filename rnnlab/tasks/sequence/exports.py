"""The program of a sequence model to export: its outputs for encoded sequences."""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, export

from rnnlab.models.tokens import Words
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.exports import Exports, Program, array
from rnnlab.tasks.sequence.inputs import LETTERS, Inputs
from rnnlab.tasks.sequence.task import SequenceTask
from rnnlab.training.step import split_model

_USAGE = """\
`python run.py < sequences.jsonl` reads a sequence in JSON from each line: {line}. It writes the answer on a line: a
class, or in JSON numbers in the units of the data, the class of each step, or the probability of each label at each
step. Steps have the order and the chunks that the model reads (`data.permuted`, `data.chunk`).

The program reads {encoded}, time first, padded with 0 beyond `lengths`. Its `outputs` are logits, or standardised
numbers."""
_TEXT = (
    'a text (of the unit `{unit}`; if that is not character, byte or symbol, its tokens separated by blanks), as "..."'
)
_TIMED = ", the last of them the time since the step before"


def make_exports(task: SequenceTask) -> Exports:
    """Makes the exports of a task."""
    inputs, config = task.known.inputs, task.config
    settings = {"batch_size": config.evaluation.batch_size, "answer": config.data.answer, "learnt": task.answer.learnt}
    if inputs.scaler is not None:
        settings["numbers"] = _of_numbers(inputs)
    vocabularies = {"vocabulary.json": inputs.vocabulary, "characters.json": inputs.characters}
    files = {name: each.listed() for name, each in vocabularies.items() if each is not None}
    settings["vocabularies"] = [name if name in files else None for name in vocabularies]
    line, encoded = f"a list of steps, each a list of numbers{_TIMED * inputs.timed}", "standardised numbers"
    if inputs.vocabulary is not None:
        texts = config.data.name != "tagged"
        line = _TEXT.format(unit=inputs.vocabulary.unit) if texts else "a list of words"
        encoded = (
            "ids, those of a text with EOS (2)" if texts else "ids of words, and those of their characters if used"
        )
    return Exports(
        programs={"forward": _forward(task)},
        runner=pathlib.Path(__file__).with_name("runner.py"),
        files={"runner.json": settings, **files},
        usage=_USAGE.format(line=line, encoded=encoded),
        digests=task.known.digests,
    )


def _of_numbers(inputs: Inputs) -> dict[str, Any]:
    """Returns the treatment of numbers: the values for missing ones, the scaler, and times."""
    mean, deviation = inputs.scaler  # type: ignore[misc]
    scaler = (mean, deviation) if inputs.standardise else (np.zeros_like(mean), np.ones_like(deviation))
    found = {"fill": mean.tolist(), "mean": scaler[0].tolist(), "deviation": scaler[1].tolist()}
    return found | {name: getattr(inputs, name) for name in ("timed", "interval", "continuous")}


def _forward(task: SequenceTask) -> Program:
    """Returns the model as a program; its third argument is that of a model with characters, or with times."""
    merge, _ = split_model(task.sketch)
    batch, time = export.symbolic_shape("batch, time")
    known = task.known.inputs
    numbers = known.vocabulary is None
    read = array(jnp.float32, time, batch, known.features) if numbers else array(jnp.int32, time, batch)
    arguments = {"inputs": read, "lengths": array(jnp.int32, batch)}
    if known.characters is not None:
        arguments["characters"] = array(jnp.int32, time, batch, LETTERS)
    if known.continuous and known.interval:
        arguments["dt"] = array(jnp.float32, time, batch)

    def forward(params: ModelParams, inputs: Array, lengths: Array, other: Array | None = None) -> dict[str, Array]:
        if known.characters is not None:
            return {"outputs": merge(params)(Words(inputs, other), lengths)}
        return {"outputs": merge(params)(inputs, lengths, dt=other)}

    shape = "at each step" if task.answer.per_step else "for each sequence"
    return Program(forward, arguments, f"The output of the model {shape}.")
