"""Continuations of lines by a language model, and log-probabilities of their tokens."""

import copy
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rnnlab.data.pipeline import batch_widths
from rnnlab.data.running_text import decode_ids, line_break
from rnnlab.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from rnnlab.errors import UserError
from rnnlab.logits import without_tokens
from rnnlab.losses import length_weights
from rnnlab.models import LanguageModel
from rnnlab.search import Hypotheses, SpecialTokens, beam_search, greedy, sample
from rnnlab.search.base import ranked
from rnnlab.tasks.base import ModelParams, Predictor
from rnnlab.tasks.language_model.evaluation import first_token
from rnnlab.tasks.language_model.task import LanguageModelTask
from rnnlab.training.placing import fetch, on_own_rows, place_rows, sharing_mesh
from rnnlab.training.step import split_model

_STEPS = 64  # of prompts read at a time
_ESCAPES: dict[str, str | int | None] = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED = {str(after): before for before, after in _ESCAPES.items()}


def escape(text: str) -> str:
    """Writes a text on one line: a line break as \\n, a carriage return as \\r, a tab as \\t, a backslash as \\\\."""
    return text.translate(str.maketrans(_ESCAPES))


def unescape(text: str) -> str:
    """Reverses `escape`; any other backslash stays."""
    return re.sub(r"\\[\\nrt]", lambda found: _ESCAPED[found[0]], text)


class _Context(NamedTuple):
    """A text so far: its `last` token, and the `states` of one row, on the host, after all tokens before that one."""

    states: Any
    last: int


class TextPredictor(Predictor):
    """Continues lines, or scores their tokens.

    A line is read after a line break, like the first one of a text; `resume` reads it after the text of its context.
    Line breaks within prompts and answers are written as by `escape`. Tokens that training did not have are read as
    unknown, and counted in `remarks`.

    Args:
      task: the task to use, with the search of its config.
      params: of its model.
      n_best: 0 gives the best answer; n gives the n best, each followed by its log-probability in nats, separated by
        TABs.
      token_scores: gives the log-probability in nats of each token of the line, separated by blanks, instead of an
        answer.

    Raises:
      UserError: more answers than the beam size, or both options.
    """

    def __init__(self, task: LanguageModelTask, params: ModelParams, *, n_best: int = 0, token_scores: bool = False):
        options = task.config.evaluation
        if n_best > options.beam_size:
            raise UserError(f"--n_best: {n_best} is more than --beam_size={options.beam_size}; increase the beam size")
        if n_best and token_scores:
            raise UserError("--token_scores: scores the given lines, so there is no answer; omit --n_best")
        self._task, self._params = task, params
        self._n_best, self._token_scores, self._widths = n_best, token_scores, batch_widths(options.batch_size)
        merge, _ = split_model(task.sketch)
        self._read = jax.jit(functools.partial(_read, merge))
        search = Search.of(task)
        self._special = search.special

        def run(params: ModelParams, states: Any, prompts: Prompts, max_length: int, mesh: Mesh | None) -> Hypotheses:
            own = functools.partial(search.run, max_length=max_length)
            return on_own_rows(own, mesh, 0, 0)(params, states, prompts)

        self._search = jax.jit(run, static_argnames=("max_length", "mesh"))
        self._start = jax.jit(lambda params, rows: merge(params).start(rows), static_argnums=1)
        self._total = self._unknown = 0

    def __call__(self, lines: Sequence[bytes], first: int) -> list[str]:
        """Returns an answer for each line, in order; `first`, the number of the first line, counts from 0."""
        batches = self._batches(lines, first, [None] * len(lines))
        return [answer for batch in batches for answer in batch.answers]

    def resume(self, lines: Sequence[bytes], first: int, contexts: Sequence[Any]) -> tuple[list[str], list[Any]]:
        """Answers lines that each continue a text, of which the line and its best answer are then a part."""
        answers, after = list[str](), list[Any]()
        for batch in self._batches(lines, first, contexts):
            states = fetch(self._read_all(batch.written, batch.states)[0])
            answers += batch.answers
            for row, ids in enumerate(batch.written):
                after.append(_Context(jax.tree.map(np.copy, _row(states, row)), ids[-1]))  # not the whole batch
        return answers, after

    def _batches(
        self, lines: Sequence[bytes], first: int, contexts: Sequence[_Context | None]
    ) -> Iterator["_Answered"]:
        prompts = [self._prompt(line, context) for line, context in zip(lines, contexts, strict=True)]
        self._total += len(prompts)
        self._unknown += sum(UNK in ids for ids in prompts)
        size = self._task.config.evaluation.batch_size
        for begin in range(0, len(prompts), size):
            part = slice(begin, begin + size)
            yield self._answers(prompts[part], contexts[part], first + begin)

    def warm_up(self) -> Iterator[None]:
        """Compiles reading and search for each number of rows."""
        for rows in self._widths:
            self._answers([[first_token(self._task)] * 2] * rows, [None] * rows, 0)
            yield

    def remarks(self) -> Iterator[str]:
        """Yields what to log once all lines are answered."""
        if self._unknown:
            yield f"{self._unknown} of {self._total} lines had unknown tokens"

    def _prompt(self, line: bytes, context: _Context | None) -> list[int]:
        """Returns the ids of a line, after the last token of its context or the one before the first of a text."""
        vocabulary = self._task.vocabulary
        how = ("utf-8", "surrogateescape") if vocabulary.unit == "byte" else ("utf-8-sig", "replace")
        text = unescape(line.removesuffix(b"\n").removesuffix(b"\r").decode(*how))
        return [first_token(self._task) if context is None else context.last, *_encode(text, vocabulary)]

    def _answers(self, prompts: list[list[int]], contexts: Sequence[_Context | None], number: int) -> "_Answered":
        rows = next(width for width in self._widths if width >= len(prompts))
        states, log_p = self._read_all(prompts, self._start_states(contexts, rows))
        if self._token_scores:
            found = zip(log_p.T, prompts, strict=False)
            scores = [" ".join(f"{value:.6f}" for value in own[: len(ids) - 1]) for own, ids in found]
            return _Answered(scores, states, [ids[-1:] for ids in prompts])
        last, limits = np.full(rows, PAD, np.int32), np.zeros(rows, np.int32)
        last[: len(prompts)] = [ids[-1] for ids in prompts]
        longest = self._task.config.evaluation.max_tokens
        limits[: len(prompts)] = longest
        given = place_rows(Prompts(last, limits, number + np.arange(rows, dtype=np.int32)), self._params)
        mesh = sharing_mesh(self._params, rows)
        result = fetch(self._search(self._params, states, given, max_length=longest, mesh=mesh))
        answers, written = list[str](), list[list[int]]()
        for row, (ids, context) in enumerate(zip(prompts, contexts, strict=True)):
            own, best = _row(result, row), result.tokens[row, 0]
            answers.append(self._answer(ids[context is None :], own))
            written.append([ids[-1], *best[best != PAD].tolist()])
        return _Answered(answers, states, written)

    def _start_states(self, contexts: Sequence[_Context | None], rows: int) -> Any:
        """Returns the states of contexts, `[rows, ...]`; those before a text for None, and for further rows."""
        start = place_rows(self._start(self._params, rows), self._params, axis=0)
        if all(context is None for context in contexts):
            return start
        fresh = _row(fetch(start), 0)
        own = [fresh if context is None else context.states for context in contexts]
        stacked = jax.tree.map(lambda *each: np.stack(each), *own, *[fresh] * (rows - len(own)))
        return place_rows(stacked, self._params, axis=0)

    def _read_all(self, prompts: list[list[int]], states: Any) -> tuple[Any, np.ndarray]:
        """Reads all but the last token of each prompt; returns the states after them, and the log-probabilities of all
        but the first, `[time, rows]`."""
        rows = len(jax.tree.leaves(states)[0])
        lengths = np.zeros(rows, np.int32)
        lengths[: len(prompts)] = [len(ids) - 1 for ids in prompts]
        steps = -(-int(lengths.max()) // _STEPS) * _STEPS
        ids = np.full((steps + 1, rows), PAD, np.int32)
        for row, own in enumerate(prompts):
            ids[: len(own), row] = own
        found = [np.zeros((0, rows))]
        for begin in range(0, steps, _STEPS):
            inputs, labels = ids[begin : begin + _STEPS], ids[begin + 1 : begin + 1 + _STEPS]
            piece = place_rows((inputs, labels, np.clip(lengths - begin, 0, _STEPS)), self._params)
            states, log_p = self._read(self._params, states, *piece)
            found.append(fetch(log_p))
        return states, np.concatenate(found)

    def _answer(self, shown: list[int], found: Hypotheses) -> str:
        columns = []
        for tokens, score in zip(found.tokens[: self._n_best or 1], found.scores, strict=False):
            if not self._n_best or np.isfinite(score):
                ids = [int(token) for token in tokens if token not in (PAD, self._special.eos)]
                columns.append(escape(_continuation(shown, ids, self._task.vocabulary)))
                columns += [f"{score:.6f}"] if self._n_best else []
        return "\t".join(columns)


def _row(tree: Any, row: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[row], tree)


def _read(
    merge: Callable[[ModelParams], LanguageModel], params: ModelParams, states: Any, inputs: Array, labels, lengths
) -> tuple[Any, Array]:
    """Returns the states after a piece, and the log-probability of each of its labels, 0 in the padding."""
    found = merge(params)(inputs, states, lengths)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(found.logits), labels[..., None], -1)[..., 0]
    return found.states, jnp.where(length_weights(lengths, len(inputs)), log_p, 0)


class _Answered(NamedTuple):
    """A batch of answers, the `states` after all but the last token of each prompt, `[rows, ...]`, and that token with
    those `written` after it."""

    answers: list[str]
    states: Any
    written: list[list[int]]


class Prompts(NamedTuple):
    """Rows to continue, each `[rows]`: the `last` token of each, which its state has not read, the `limits` of the
    answers and the `numbers` of the rows, which determine their random draws."""

    last: Any  # Int[Array, "rows"], on the host or on a device, as the others
    limits: Any
    numbers: Any


class Search(NamedTuple):
    """Continues rows by the search of the `options`; answers contain no token in `never`."""

    merge: Callable[[ModelParams], LanguageModel]
    options: ConfigDict
    key: Array
    special: SpecialTokens
    never: tuple[int, ...]

    @classmethod
    def of(cls, task: LanguageModelTask) -> "Search":
        """Makes the search of a task's config."""
        options, vocabulary = task.config.evaluation, task.vocabulary
        ends = line_break(vocabulary) if options.stop == "line" else None
        special = SpecialTokens(bos=BOS, eos=PAD if ends is None else ends, pad=PAD)
        never = (UNK,) if task.config.data.min_count == 1 else ()  # training has no unknown token
        merge, _ = split_model(task.sketch)
        return cls(merge, options, jax.random.key(task.config.seed), special, never)

    def run(self, params: ModelParams, states: Any, prompts: Prompts, max_length: int) -> Hypotheses:
        """Continues prompts from the states before their last tokens; `max_length` as in `greedy`."""
        model, options, n = self.merge(params), self.options, self.options.beam_size
        fresh = jnp.ones_like(prompts.last, bool)
        carry = jax.tree.map(lambda leaf: jnp.repeat(leaf, n, axis=0), (states, prompts.last, fresh))

        def step(carry, tokens):
            states, first, fresh = carry  # a search starts with BOS; instead, the prompt's last token is read
            found = model(jnp.where(fresh, first, tokens)[None], states)
            logits = without_tokens(found.logits[0], self.never)
            return (found.states, first, jnp.zeros_like(fresh)), (logits, None)

        how: dict[str, Any] = {"special": self.special, "max_length": max_length}
        if options.temperature:
            how |= {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
            drawn = sample(step, carry, jnp.repeat(prompts.limits, n), keys=self._keys(prompts.numbers), **how)
            return ranked(jax.tree.map(lambda v: v.reshape(-1, n, *v.shape[2:]), drawn), n)
        if n == 1:
            return greedy(step, carry, prompts.limits, **how)
        return beam_search(step, carry, prompts.limits, beam_size=n, **how)

    def _keys(self, numbers: Array) -> Array:
        n = self.options.beam_size
        return jax.vmap(lambda number: jax.random.split(jax.random.fold_in(self.key, number), n))(numbers).reshape(-1)


def _encode(text: str, vocabulary: Vocabulary) -> list[int]:
    if vocabulary.exact:
        return vocabulary.encode(text)
    first, *others = text.split("\n")
    ids = vocabulary.encode(first.strip())
    for line in others:
        ids += [EOS, *vocabulary.encode(line.strip())]
    return ids


def _continuation(prompt: list[int], answer: list[int], vocabulary: Vocabulary) -> str:
    """Returns the text of an answer as it follows its prompt, including any blank between them."""
    before, both = decode_ids(prompt, vocabulary), decode_ids([*prompt, *answer], vocabulary)
    return both.removeprefix(before) if both.startswith(before) else decode_ids(answer, vocabulary)


def sample_texts(task: LanguageModelTask, params: ModelParams) -> list[str]:
    """Samples `evaluation.samples` texts from the model, at the temperature of the config or else at 1."""
    config = copy.deepcopy(task.config)
    config.evaluation.temperature = config.evaluation.temperature or 1.0
    config.evaluation.beam_size = 1
    predict = TextPredictor(task.configured(config), params)
    return [unescape(text) for text in predict([b""] * config.evaluation.samples, 0)]
