"""The programs of a seq2seq model to export: searches, scores of given outputs, and the parts of a search."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, export

from rnnlab.data.vocabulary import BOS, PAD
from rnnlab.errors import UserError
from rnnlab.search.base import log_probabilities
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.exports import Exports, Program, array, plain
from rnnlab.tasks.seq2seq.decode import decode
from rnnlab.tasks.seq2seq.model import SPECIAL
from rnnlab.tasks.seq2seq.prediction import LONGEST
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training.step import split_model

_USAGE = """\
`python run.py < lines.txt` writes an output line for each input line, as `--mode=predict` does; `python run.py greedy`
uses greedy search. Texts have the units `{source}` and `{target}`: `character`, `byte` and `symbol` are read and
written as text, any other unit as its tokens, separated by blanks.

Ids below 4 are special: padding, BOS, EOS, unknown. `source` and `outputs` are ids, time first, padded with 0, and
`outputs` end with EOS. `lengths` are the tokens of each source. `room[t, b]` is true where output `b` may have a token
`t`: its shape limits all outputs, and each column one of them."""


def make_exports(task: Seq2SeqTask) -> Exports:
    """Makes the exports of a task, with the beam size and the penalties of its config.

    Raises:
      UserError: the config samples outputs.
    """
    options = task.config.evaluation
    if options.temperature:
        raise UserError(
            f"config.evaluation.temperature: {options.temperature} samples outputs; exported searches do not, so it "
            "must be 0"
        )
    longest = LONGEST * task.sizes[-1][0]
    settings = {
        "program": "beam" if options.beam_size > 1 else "greedy",
        "batch_size": options.batch_size,
        "limits": task.output_limit(np.arange(longest + 1)).tolist(),  # by the length of a source
    }
    vocabularies = {f"{side}_vocabulary.json": getattr(task, side).listed() for side in ("source", "target")}
    return Exports(
        programs=_Programs(task).all(),
        runner=pathlib.Path(__file__).with_name("runner.py"),
        files={"runner.json": settings, **vocabularies},
        usage=_USAGE.format(source=task.source.unit, target=task.target.unit),
        digests=task.digests,
    )


class _Programs:
    """The functions to export, each of the parameters and its own arguments."""

    def __init__(self, task: Seq2SeqTask):
        self._merge, self._params = split_model(task.answering_sketch)
        self._options = task.config.evaluation

    def all(self) -> dict[str, Program]:
        """Returns the programs by name."""
        batch, source, target = export.symbolic_shape("batch, source, target")
        int32 = jnp.int32
        sources = {"source": array(int32, source, batch), "lengths": array(int32, batch)}
        room = {"room": array(jnp.bool, target, batch)}
        beam_size = self._options.beam_size
        searches = {"greedy": Program(self.greedy, sources | room, "Takes the most likely token at every step.")}
        if beam_size > 1:
            penalties = f"length penalty {self._options.length_penalty}, coverage penalty"
            meaning = f"Beam search of size {beam_size}, {penalties} {self._options.coverage_penalty}; best first."
            searches["beam"] = Program(self.beam, sources | room, meaning)
        outputs = {"outputs": array(int32, target, batch)}
        encoded = jax.eval_shape(self.encode, self._params, *sources.values())
        step = {"states": encoded["states"], "tokens": array(int32, batch), "memory": encoded["memory"]}
        return searches | {
            "scores": Program(self.scores, sources | outputs, "Log-probabilities of the tokens of given outputs."),
            "encode": Program(self.encode, sources, "The decoder's initial states, and what its steps read."),
            "step": Program(self.step, step, "Reads one token (first BOS): log-probabilities of the next, new states."),
        }

    def greedy(self, params: ModelParams, source: Array, lengths: Array, room: Array) -> dict[str, Array]:
        return self._search(params, source, lengths, room, beam_size=1)

    def beam(self, params: ModelParams, source: Array, lengths: Array, room: Array) -> dict[str, Array]:
        options = self._options
        penalties = {"alpha": options.length_penalty, "beta": options.coverage_penalty}
        return self._search(params, source, lengths, room, beam_size=options.beam_size, **penalties)

    def _search(self, params: ModelParams, source: Array, lengths: Array, room: Array, **how: Any) -> dict[str, Array]:
        limits = room.sum(0, dtype=jnp.int32)
        model = self._merge(params)
        return decode(model, source, lengths, limits, special=SPECIAL, max_length=room.shape[0], **how)._asdict()

    def scores(self, params: ModelParams, source: Array, lengths: Array, outputs: Array) -> dict[str, Array]:
        inputs = jnp.concatenate([jnp.full_like(outputs[:1], BOS), outputs[:-1]])
        log_p = log_probabilities(self._merge(params)(source, lengths, inputs), SPECIAL)
        own = jnp.take_along_axis(log_p, outputs[..., None], axis=-1)[..., 0]
        return {"log_p": jnp.where(outputs == PAD, 0, own)}

    def encode(self, params: ModelParams, source: Array, lengths: Array) -> dict[str, Any]:
        states, memory = self._merge(params).encode(source, lengths)
        return {"states": plain(states), "memory": plain(memory)}

    def step(self, params: ModelParams, states: Any, tokens: Array, memory: Any) -> dict[str, Any]:
        model = self._merge(params)
        of_encoder = jax.eval_shape(model.encode, array(jnp.int32, 1, 1), array(jnp.int32, 1))
        states, memory = jax.tree.unflatten(jax.tree.structure(of_encoder), jax.tree.leaves((states, memory)))
        states, (logits, weights) = model.step(states, tokens, memory)
        found = {"states": plain(states), "log_p": log_probabilities(logits, SPECIAL)}
        return found if weights is None else found | {"attention": weights}
