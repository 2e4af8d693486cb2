"""A model's scores on a split: loss by teacher forcing, and metrics of its predictions."""

import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rnnlab.data.batch import Batch, Ids
from rnnlab.data.example import Example
from rnnlab.data.pipeline import Pairs, evaluation_batches
from rnnlab.data.vocabulary import EOS, PAD, Reading
from rnnlab.losses import cross_entropy, length_weights
from rnnlab.metrics import FREE_RUNNING, needs_a_tokenizer, score
from rnnlab.search import Hypotheses
from rnnlab.tasks.base import ModelParams, Scores
from rnnlab.tasks.seq2seq.checks import find_metrics
from rnnlab.tasks.seq2seq.config import metric_names
from rnnlab.tasks.seq2seq.decode import Sampling, attention, decode, free_running
from rnnlab.tasks.seq2seq.model import SPECIAL
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training.placing import fetch, on_own_rows, place_rows, sharing_mesh, whole_rows
from rnnlab.training.step import split_model

_LOG = logging.getLogger("rnnlab")
CUT = "reached the maximum length of an output (config.evaluation.max_tokens) and were cut there"


class Encoded(NamedTuple):
    """The encoder's results for a line: `outputs` `[source, features]`, and the last state of each layer, entries
    `[features]`."""

    outputs: np.ndarray
    states: tuple[tuple[np.ndarray, ...], ...]


class Evaluator:
    """The compiled functions that score a task's model; one object serves every split and step.

    Args:
      task: has the model, vocabularies and buckets to use.
      beam_size: of the search; 1 is greedy.
      draws: whether to sample `beam_size` outputs if the config's temperature is above 0.
    """

    def __init__(self, task: Seq2SeqTask, *, beam_size: int, draws: bool = False):
        self.task = task
        merge, _ = split_model(task.answering_sketch)

        def loss(params: ModelParams, batch: Batch, forced: bool):
            model, source = merge(params), (batch.source, batch.source_lengths)
            logits = (
                model(*source, batch.inputs) if forced else free_running(model, *source, batch.inputs, special=SPECIAL)
            )
            return cross_entropy(logits, batch.labels, length_weights(batch.target_lengths, len(batch.labels)))

        options = task.config.evaluation
        key = jax.random.key(task.config.seed)

        def search(
            params: ModelParams,
            source: jax.Array,
            seq_lengths: jax.Array,
            limits: jax.Array,
            rows: jax.Array,
            *,
            max_length: int,
            mesh: Mesh | None,
        ) -> Hypotheses:
            def run(params, source, seq_lengths, limits, rows) -> Hypotheses:
                sampling = None
                if draws and options.temperature:
                    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
                    sampling = Sampling(keys, options.temperature, options.top_k, options.top_p)
                penalties = {"alpha": options.length_penalty, "beta": options.coverage_penalty}
                how = {"max_length": max_length, "beam_size": beam_size, "sampling": sampling, **penalties}
                return decode(merge(params), source, seq_lengths, limits, special=SPECIAL, **how)

            return on_own_rows(run, mesh, 1, 0, 0, 0)(params, source, seq_lengths, limits, rows)

        def look(params: ModelParams, batch: Batch):
            return attention(merge(params), batch.source, batch.source_lengths, batch.inputs)

        self._loss = jax.jit(loss, static_argnames="forced")
        self._search = jax.jit(search, static_argnames=("max_length", "mesh"))
        self._attention = jax.jit(look)
        self._metrics = find_metrics(task.config)
        self._warned = False

    def loss(self, params: ModelParams, examples: list[Example], *, forced: bool = True) -> float:
        """Computes the mean cross-entropy per label in nats, including EOS, over every target of every example.

        Each step reads the label before it if `forced`, else the model's own prediction of it.
        """
        pairs, total, tokens = self.task.encode(examples), jnp.zeros(()), 0
        for _, batch in self._batches(params, pairs):
            total += self._loss(params, place_rows(batch, params), forced=forced)
            tokens += batch.tokens
        return float(total) / max(1, tokens)

    def predict(self, params: ModelParams, sources: list[str]) -> list[str]:
        """Returns the best output for each source, in their order."""
        return [self.task.target.decode(ids) for ids in self._best_outputs(params, sources)]

    def _best_outputs(self, params: ModelParams, sources: list[str]) -> list[Ids]:
        encoded = [self.task.source.encode(source) for source in sources]
        return [hypotheses.tokens[0] for hypotheses in self.search(params, encoded)]

    def search(self, params: ModelParams, sources: list[list[int]], *, start: int = 0) -> list[Hypotheses]:
        """Returns the hypotheses for each encoded source, in their order; their arrays have no axis `batch`.

        Random draws for a source depend only on the seed and its number, counted from `start`.
        """
        pairs = Pairs(sources, [[]] * len(sources))
        found: list[Any] = [None] * len(sources)
        for rows, batch in self._batches(params, pairs):
            numbers = np.zeros(batch.source.shape[1], np.int32)
            numbers[: len(rows)] = start + np.array(rows)
            limits = self.task.output_limit(batch.source_lengths)
            inputs = place_rows((batch.source, batch.source_lengths, limits, numbers), params)
            longest = int(self.task.output_limit(np.array(batch.source.shape[0])))
            mesh = sharing_mesh(params, len(numbers))
            result = fetch(self._search(params, *inputs, max_length=longest, mesh=mesh))
            for column, row in enumerate(rows):
                found[row] = jax.tree.map(lambda part, column=column: part[column], result)
        return found

    def attention(self, params: ModelParams, sources: list[list[int]], targets: list[list[int]]) -> list[np.ndarray]:
        """Returns the attention weights of each encoded source and target, `[target, source]`, EOS's row last."""
        pairs = Pairs(sources, targets)
        found: list[Any] = [None] * len(sources)
        for rows, batch in self._batches(params, pairs):
            weights = fetch(self._attention(params, place_rows(batch, params)))
            for column, row in enumerate(rows):
                found[row] = weights[: batch.target_lengths[column], column, : batch.source_lengths[column]]
        return found

    def encode(self, params: ModelParams, sources: list[list[int]]) -> list[Encoded]:
        """Runs the encoder over encoded sources, in their order."""
        merge, _ = split_model(self.task.sketch)
        encoder = jax.jit(lambda params, source, seq_lengths: merge(params).encoder(source, seq_lengths))
        found: list[Any] = [None] * len(sources)
        for rows, batch in self._batches(params, Pairs(sources, [[]] * len(sources))):
            given = place_rows((batch.source, batch.source_lengths), params)
            outputs, states = fetch(encoder(params, *given))
            for column, row in enumerate(rows):
                own = jax.tree.map(lambda entry, column=column: entry[column], states)
                found[row] = Encoded(outputs[: batch.source_lengths[column], column], own)
        return found

    def evaluate(self, params: ModelParams, examples: list[Example]) -> Scores:
        """Computes loss, perplexity and the metrics of the config."""
        target = self.task.target
        loss = self.loss(params, examples)
        scores: Scores = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
        if FREE_RUNNING in metric_names(self.task.config):
            scores[FREE_RUNNING] = self.loss(params, examples, forced=False)
        outputs = self._best_outputs(params, [example.source for example in examples])
        if cut := sum(map(was_cut, outputs)):
            _LOG.warning("%d of %d outputs %s", cut, len(outputs), CUT)
        references = [[target.read_text(text) for text in example.targets] for example in examples]
        if "bleu" in self._metrics:
            self._check_tokenizer(references)
        return scores | score(self._metrics, [target.read(ids) for ids in outputs], references)

    def _check_tokenizer(self, references: list[list[Reading]]) -> None:
        """Warns once if BLEU's tokenizer will find no words."""
        if self.task.config.evaluation.bleu_tokenizer == "13a" and not self._warned:
            self._warned = needs_a_tokenizer([[text for text, _ in answers] for answers in references])
            if self._warned:
                _LOG.warning(
                    "config.evaluation.bleu_tokenizer: '13a' splits at blanks, which the script of the targets does not"
                    " put between words, so BLEU means little; also allowed: zh, ja-mecab, char"
                )

    def _batches(self, params: ModelParams, pairs: Pairs) -> Iterator[tuple[list[int], Batch]]:
        rows = whole_rows(self.task.config.evaluation.batch_size, params)
        return evaluation_batches(pairs, self.task.sizes, rows)


def was_cut(tokens: Ids) -> bool:
    """Returns whether an output `[time]` reached its maximum length without EOS."""
    return bool((tokens != PAD).any() and not (tokens == EOS).any())
