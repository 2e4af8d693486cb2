"""The programs of a language model to export: its initial state, a piece of text, and continuations."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, export

from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.exports import Exports, Program, array, plain
from rnnlab.tasks.language_model.evaluation import first_token
from rnnlab.tasks.language_model.prediction import Prompts, Search
from rnnlab.tasks.language_model.task import LanguageModelTask
from rnnlab.training.step import split_model

_USAGE = """\
`python run.py < lines.txt` continues each line, as `--mode=predict` does. Texts have the unit `{unit}`: `character`,
`byte` and `symbol` are read and written as text, any other unit as its tokens, separated by blanks.

Ids below 4 are special: padding, BOS, EOS, unknown. A text starts with the states of `start`, and with the id
`first` of `runner.json` before its first token. `read` takes a piece of any length (a stream: one token at a time) and
returns the states for the next piece; `lengths` are the tokens to read of each column. `continuation` reads the last
token of a prompt itself; `room[t, b]` is true where text `b` may have a token `t`, and `numbers` determine the random
draws of each text, if the search samples."""


def make_exports(task: LanguageModelTask) -> Exports:
    """Makes the exports of a task, with the search of its config."""
    options, search = task.config.evaluation, Search.of(task)
    settings = {
        "first": first_token(task),
        "end": search.special.eos,
        "batch_size": options.batch_size,
        "max_tokens": options.max_tokens,
    }
    return Exports(
        programs=_Programs(task, search).all(),
        runner=pathlib.Path(__file__).with_name("runner.py"),
        files={"runner.json": settings, "vocabulary.json": task.vocabulary.listed()},
        usage=_USAGE.format(unit=task.vocabulary.unit),
        digests=task.digests,
    )


class _Programs:
    """The functions to export, each of the parameters and its own arguments."""

    def __init__(self, task: LanguageModelTask, search: Search):
        self._merge, self._params = split_model(task.sketch)
        self._search = search

    def all(self) -> dict[str, Program]:
        """Returns the programs by name."""
        batch, time, target = export.symbolic_shape("batch, time, target")
        rows = array(jnp.int32, batch)
        states = {"states": jax.eval_shape(self.start, self._params, rows)["states"]}
        piece = states | {"tokens": array(jnp.int32, time, batch), "lengths": rows}
        prompts = states | {"last": rows, "room": array(jnp.bool, target, batch), "numbers": rows}
        options = self._search.options
        how = f"Samples at temperature {options.temperature}" if options.temperature else "Searches"
        meaning = f"{how} {options.beam_size} continuations, best first."
        return {
            "start": Program(self.start, {"rows": rows}, "The states before a text; only the number of rows matters."),
            "read": Program(self.read, piece, "Reads a piece: logits of the token after each, and the states."),
            "continuation": Program(self.continuation, prompts, meaning),
        }

    def start(self, params: ModelParams, rows: Array) -> dict[str, Any]:
        return {"states": plain(self._merge(params).start(rows.shape[0]))}

    def read(self, params: ModelParams, states: Any, tokens: Array, lengths: Array) -> dict[str, Any]:
        found = self._merge(params)(tokens, states, lengths)
        return {"logits": found.logits, "states": plain(found.states)}

    def continuation(
        self, params: ModelParams, states: Any, last: Array, room: Array, numbers: Array
    ) -> dict[str, Array]:
        prompts = Prompts(last, room.sum(0, dtype=jnp.int32), numbers)
        return self._search.run(params, states, prompts, room.shape[0])._asdict()
