"""The scores of a language model: every token of a text is predicted once, from all tokens before it."""

import functools
import math

import jax
import numpy as np
from jax import Array

from rnnlab.data.running_text import line_break
from rnnlab.data.vocabulary import BOS
from rnnlab.losses import cross_entropy, length_weights
from rnnlab.tasks.base import ModelParams, Scores
from rnnlab.tasks.language_model.task import LanguageModelTask
from rnnlab.training.placing import fetch, place_rows
from rnnlab.training.step import split_model

_LONGEST = 1024  # steps read at a time
_CELLS = 1 << 25  # maximum number of logits in memory
_HIGHEST = 700.0  # nats; float64 can still represent this perplexity


def first_token(task: LanguageModelTask) -> int:
    """Returns the token before the first one of a text: a line break, or BOS if the vocabulary has no line break."""
    found = line_break(task.vocabulary)
    return BOS if found is None else found


class Evaluator:
    """Scores texts.

    The text is read in one stream, or in several in parallel: each starts `evaluation.warmup` tokens before its first
    scored token, to set its state.

    Args:
      task: the task of the model.
      final: score as for a finished run, by `evaluation.streams` and `dynamic_rate`; else as for validation.
      longest: steps read at a time, if memory allows.
    """

    def __init__(self, task: LanguageModelTask, *, final: bool, longest: int = _LONGEST):
        self._task, self._final, self._longest = task, final, longest
        self._merge, _ = split_model(task.sketch)
        options = task.config.evaluation
        self._streams = options.streams if final else options.validation_streams
        self._read = jax.jit(self._read_piece)
        self._adapt = jax.jit(self._adapt_to_piece)

    def scores(self, params: ModelParams, split: str) -> Scores:
        """Computes `loss` (nats per token), `perplexity`, `bits_per_token` and `bits_per_character`, counting line
        breaks; for a finished run also the numbers of `tokens`, `characters` and `unknown` tokens."""
        text = self._task.encoded(split)
        dynamic = self._final and self._task.config.evaluation.dynamic_rate
        nats = self.dynamic_nats(params, text.ids) if dynamic else self.nats(params, text.ids)
        loss = nats / len(text.ids)
        found: Scores = {
            "loss": loss,
            "perplexity": math.exp(min(loss, _HIGHEST)),
            "bits_per_token": loss / math.log(2),
            "bits_per_character": nats / math.log(2) / text.characters,
        }
        counts: Scores = {"tokens": len(text.ids), "characters": text.characters, "unknown": text.unknown}
        return found | counts if self._final else found

    def nats(self, params: ModelParams, ids: np.ndarray) -> float:
        """Sums -log p over the tokens of a text `[tokens]`."""
        warmup = self._task.config.evaluation.warmup
        streams = max(1, min(self._streams, len(ids) // max(1, warmup)))
        steps = -(-len(ids) // streams)
        begins = np.arange(0, len(ids), steps)
        inputs = np.concatenate([[first_token(self._task)], ids[:-1]]).astype(np.int32)
        read = functools.partial(self._read_all, params, inputs, ids)
        start = self._start(params, len(begins))
        states = start
        if warmup and len(begins) > 1:
            states, _ = read(begins - warmup, np.full(len(begins), warmup), start)
            states = jax.tree.map(lambda of_start, warm: warm.at[0].set(of_start[0]), start, states)
        return read(begins, np.minimum(steps, len(ids) - begins), states)[1]

    def dynamic_nats(self, params: ModelParams, ids: np.ndarray) -> float:
        """Sums -log p over the tokens of a text `[tokens]`, adapting the parameters to it.

        After each `dynamic_steps` tokens the parameters take a step of gradient descent on their mean loss, and return
        a share `dynamic_decay` of the way to their trained values (Krause et al. 2018, arXiv 1709.07432).
        """
        size = self._task.config.evaluation.dynamic_steps
        inputs = np.concatenate([[first_token(self._task)], ids[:-1]]).astype(np.int32)
        states, adapted, found = self._start(params, 1), params, []
        for begin in range(0, len(ids), size):
            piece = _piece(inputs, ids, np.array([begin]), size, np.array([min(size, len(ids) - begin)]))
            adapted, states, nats = self._adapt(adapted, params, states, *place_rows(piece, params))
            found.append(nats)
        return float(np.sum(fetch(found), dtype=np.float64))

    def _start(self, params: ModelParams, rows: int):
        return place_rows(jax.jit(lambda params: self._merge(params).start(rows))(params), params, axis=0)

    def _read_all(self, params, inputs, labels, begins: np.ndarray, lengths: np.ndarray, states):
        """Reads a number of tokens of each stream; returns the states, and the sum of -log p."""
        room = _CELLS // (len(begins) * len(self._task.vocabulary))
        size = max(1, min(self._longest, room, int(lengths.max())))
        found = []
        for done in range(0, int(lengths.max()), size):
            piece = _piece(inputs, labels, begins + done, size, np.clip(lengths - done, 0, size))
            states, nats = self._read(params, states, *place_rows(piece, params))
            found.append(nats)
        return states, float(np.sum(fetch(found), dtype=np.float64))

    def _read_piece(self, params: ModelParams, states, inputs: Array, labels: Array, lengths: Array):
        read = self._merge(params)(inputs, states, lengths)
        return read.states, cross_entropy(read.logits, labels, length_weights(lengths, len(inputs)))

    def _adapt_to_piece(self, params: ModelParams, trained: ModelParams, states, inputs, labels, lengths):
        options = self._task.config.evaluation

        def loss(params):
            states_after, nats = self._read_piece(params, states, inputs, labels, lengths)
            return nats / lengths.sum(), (states_after, nats)

        gradients, (states, nats) = jax.grad(loss, has_aux=True)(params)
        adapted = jax.tree.map(
            lambda now, gradient, then: now - options.dynamic_rate * gradient + options.dynamic_decay * (then - now),
            params,
            gradients,
            trained,
        )
        return adapted, states, nats


def _piece(inputs: np.ndarray, labels: np.ndarray, begins: np.ndarray, size: int, lengths: np.ndarray):
    """Returns the inputs and labels of `size` steps of each stream, `[size, streams]`, and the number of valid ones."""
    places = np.clip(begins + np.arange(size)[:, None], 0, len(inputs) - 1)
    return inputs[places], labels[places], np.asarray(lengths, np.int32)
