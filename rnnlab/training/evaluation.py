"""A model's scores on a split: loss by teacher forcing, and the metrics of the task on what it predicts."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.data.corpus import Example
from rnnlab.data.pipeline import Batch, Ids, Pairs, evaluation_batches
from rnnlab.data.vocabulary import EOS
from rnnlab.decoding import Hypotheses, Sampling, attention, decode, free_running
from rnnlab.metrics import FREE_RUNNING, cross_entropy, score, token_bleu
from rnnlab.printing import show, to_json
from rnnlab.training.config import metric_names
from rnnlab.training.experiment import SIGNS, Experiment, open_corpus
from rnnlab.training.step import ModelParams, split_model


class Evaluator:
    """The compiled functions that score an experiment's model; one object serves every split and step.

    Args:
      experiment: whose model, vocabularies and buckets to use.
      beam_size: of the search; 1 is greedy.
      draws: whether it draws outputs at random, `beam_size` of them, where the config's temperature is above 0.
    """

    def __init__(self, experiment: Experiment, *, beam_size: int, draws: bool = False):
        self.experiment = experiment
        merge, _ = split_model(experiment.make_answering())

        def loss(params: ModelParams, batch: Batch, forced: bool):
            model, source = merge(params), (batch.source, batch.source_lengths)
            logits = model(*source, batch.inputs) if forced else free_running(model, *source, batch.inputs)
            return cross_entropy(logits, batch.labels, batch.target_lengths)

        options = experiment.config.evaluation
        key = jax.random.key(experiment.config.seed)

        def search(params: ModelParams, source: jax.Array, seq_lengths: jax.Array, rows: jax.Array) -> Hypotheses:
            sampling = None
            if draws and options.temperature:
                keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
                sampling = Sampling(keys, options.temperature, options.top_k, options.top_p)
            penalties = {"alpha": options.length_penalty, "beta": options.coverage_penalty}
            how = {"beam_size": beam_size, "sampling": sampling, **penalties}
            return decode(merge(params), source, seq_lengths, signs=SIGNS, **how)

        def look(params: ModelParams, batch: Batch):
            return attention(merge(params), batch.source, batch.source_lengths, batch.inputs)

        self._loss, self._search = jax.jit(loss, static_argnames="forced"), jax.jit(search)
        self._attention = jax.jit(look)

    def loss(self, params: ModelParams, examples: list[Example], *, forced: bool = True) -> float:
        """Mean cross-entropy per label in nats, the end sign counted, over every target of every example.

        Each step reads the label before it if `forced`, else what the model found likeliest there.
        """
        pairs, total, tokens = self.experiment.encode(examples), jnp.zeros(()), 0
        for _, batch in self._batches(pairs):
            total += self._loss(params, jax.device_put(batch), forced=forced)
            tokens += batch.tokens
        return float(total) / max(1, tokens)

    def predict(self, params: ModelParams, sources: list[str]) -> list[str]:
        """The best output for each source, in their order."""
        return [self.experiment.target.decode(ids) for ids in self._likeliest(params, sources)]

    def _likeliest(self, params: ModelParams, sources: list[str]) -> list[Ids]:
        encoded = [self.experiment.source.encode(source) for source in sources]
        return [hypotheses.tokens[0] for hypotheses in self.search(params, encoded)]

    def search(self, params: ModelParams, sources: list[list[int]], *, start: int = 0) -> list[Hypotheses]:
        """The hypotheses for each encoded source, in their order; their arrays have no axis `batch`.

        What is drawn at random for a source follows from the seed and its number, counted from `start`.
        """
        pairs = Pairs(sources, [[]] * len(sources))
        found: list[Any] = [None] * len(sources)
        for rows, batch in self._batches(pairs):
            numbers = np.zeros(batch.source.shape[1], np.int32)
            numbers[: len(rows)] = start + np.array(rows)
            inputs = jax.device_put((batch.source, batch.source_lengths, numbers))
            result = jax.device_get(self._search(params, *inputs))
            for column, row in enumerate(rows):
                found[row] = jax.tree.map(lambda part, column=column: part[column], result)
        return found

    def attention(self, params: ModelParams, sources: list[list[int]], targets: list[list[int]]) -> list[np.ndarray]:
        """For each encoded source and target where the model looks, `[target, source]`, the end sign's row last."""
        pairs = Pairs(sources, targets)
        found: list[Any] = [None] * len(sources)
        for rows, batch in self._batches(pairs):
            weights = jax.device_get(self._attention(params, jax.device_put(batch)))
            for column, row in enumerate(rows):
                found[row] = weights[: batch.target_lengths[column], column, : batch.source_lengths[column]]
        return found

    def evaluate(self, params: ModelParams, examples: list[Example]) -> dict[str, float | str]:
        """Loss, perplexity and the metrics that the config names."""
        names, target = metric_names(self.experiment.config), self.experiment.target
        loss = self.loss(params, examples)
        scores: dict[str, float | str] = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
        if FREE_RUNNING in names:
            scores[FREE_RUNNING] = self.loss(params, examples, forced=False)
        said = self._likeliest(params, [example.source for example in examples])
        right = [[target.normalise(t) for t in example.targets] for example in examples]
        scores |= score(names, [target.decode(ids) for ids in said], right)
        if "token_bleu" in names:
            tokens = [target.pieces(ids[ids > EOS]) for ids in said]
            scores |= token_bleu(tokens, [target.split(example.targets[0]) for example in examples])
        return scores

    def _batches(self, pairs: Pairs) -> Iterator[tuple[list[int], Batch]]:
        return evaluation_batches(pairs, self.experiment.sizes, self.experiment.config.evaluation.batch_size)


def evaluate(experiment: Experiment, split: str) -> None:
    """Prints the scores of the best parameters on a split as one JSON object, the last line on stdout.

    Raises:
      UserError: a work directory without a whole checkpoint, a dataset without that split or
        with longer texts in it than `data.longest`, or one out of reach.
    """
    step, params = experiment.best_params()
    evaluator = Evaluator(experiment, beam_size=experiment.config.evaluation.beam_size)
    show(f"{experiment.workdir}: best step {step}")
    examples = open_corpus(experiment.config).read(split)
    experiment.check_lengths(examples, split)
    show(to_json(split_scores(evaluator, params, split, examples)))


def split_scores(evaluator: Evaluator, params: ModelParams, split: str, examples: list[Example]) -> dict:
    """What is reported of a split: its name, how many examples, and their scores."""
    return {"split": split, "examples": len(examples), **evaluator.evaluate(params, examples)}
