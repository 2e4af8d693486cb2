"""Sequence to sequence: texts to texts."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.data.batch import Batch
from rnnlab.data.corpus import Corpus
from rnnlab.data.encoded import SIDES, build, encode, encoded_pairs
from rnnlab.data.example import Example
from rnnlab.data.pipeline import Lengths, Pairs, Sizes, bucket_sizes, training_batches
from rnnlab.data.vocabulary import EOS, Vocabulary
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.losses import cross_entropy, length_weights
from rnnlab.metrics import LOSSES, METRICS
from rnnlab.models import Ensemble, Seq2Seq
from rnnlab.own import name_of_own
from rnnlab.tasks.base import Batches, Carry, Loss, ModelParams, Predictor, Scores, Task
from rnnlab.tasks.exports import Exports
from rnnlab.tasks.seq2seq.checks import check_best_metric, check_metrics, find_metrics
from rnnlab.tasks.seq2seq.config import FIELDS, check_ranges, metric_names, resolve_paths
from rnnlab.tasks.seq2seq.data import (
    digests_of,
    log_vocabularies,
    open_corpus,
    pretrained,
    probe_batch,
    refuse_long,
    same_data,
    vocabulary_of_another,
    vocabulary_options,
    without_long,
)
from rnnlab.tasks.seq2seq.model import make_model
from rnnlab.tasks.seq2seq.teacher_forcing import make_teacher_forcing
from rnnlab.tasks.shown import Shown
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.workdir import reading_json


@dataclasses.dataclass(frozen=True)
class Seq2SeqTask(Task):
    """Texts to texts, by an encoder and a decoder.

    With `others` it is an ensemble of its own model and theirs.
    """

    config: ConfigDict
    workdir: pathlib.Path
    source: Vocabulary
    target: Vocabulary
    sizes: Sizes
    lengths: Lengths
    digests: dict[str, str]  # of the contents of each split
    others: tuple["Seq2SeqTask", ...] = ()

    fields: ClassVar = FIELDS
    fixed_in_use: ClassVar = ("model", "data.source", "data.target", "data.buckets")
    places: ClassVar = ("data.prepared", "data.directory", "data.files")  # the same data may move

    # --- the work directory

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses an invalid config, before anything is read or written.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        check_ranges(config)
        make_optimizer(config.training)
        check_metrics(config)
        check_best_metric(config)
        model = nnx.eval_shape(lambda: make_model(config, EOS + 2, EOS + 2))  # takes no memory, whatever its size
        Intervention(config.training.intervention, model)
        make_teacher_forcing(config)

    @classmethod
    def resolve_paths(cls, config: ConfigDict) -> None:
        """Makes the paths of the data absolute, in place.

        Raises:
          UserError: files that are neither "source,target" nor one TSV.
        """
        resolve_paths(config)

    @classmethod
    def has_data_of(cls, config: ConfigDict, workdir: pathlib.Path) -> bool:
        """Returns whether the current data of a config are those of a work directory; unavailable data count as the
        same."""
        try:
            with reading_json(workdir / "data.json") as found:
                made = dict(found)
        except UserError:
            return False
        now = digests_of(json.dumps(config.data.to_dict()))
        return all(now.get(split, digest) == digest for split, digest in made.items())

    @classmethod
    def create(cls, config: ConfigDict, workdir: pathlib.Path) -> Self:
        """Makes the vocabularies and length buckets of the training split."""
        corpus = open_corpus(config)
        examples, digest = corpus.stream("train"), corpus.digest("train")
        options = {side: vocabulary_options(config, side) for side in SIDES}
        if config.data.vocabularies:
            source, target = (vocabulary_of_another(config, side, options[side]) for side in SIDES)
            encoded = encoded_pairs(examples, digest, source, target)
        else:
            source, target, encoded = build(examples, digest, options)
        digests = {split: corpus.digest(split) for split in corpus.splits}
        task = cls(config, workdir, source, target, [], Lengths(0, 0, 0.0), digests)
        pairs = without_long(encoded, config.data.longest)
        task = dataclasses.replace(task, sizes=bucket_sizes(pairs, config.data.buckets), lengths=Lengths.of(pairs))
        task.__dict__.update({"corpus": corpus, "_encoded": encoded, "training_pairs": pairs})  # read once
        return task

    @classmethod
    def load(cls, config: ConfigDict, saved: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads vocabularies, buckets, lengths and digests; digests only of splits with the same location.

        Raises:
          UserError: a file is missing or damaged.
        """
        with reading_json(workdir / "buckets.json") as found:
            sizes: Sizes = [(int(s), int(t)) for s, t in found]
            if not sizes:
                raise ValueError("no bucket")
        with reading_json(workdir / "lengths.json") as found:
            lengths = Lengths(int(found["source"]), int(found["target"]), float(found["ratio"]))
        with reading_json(workdir / "data.json") as found:
            digests = {str(split): str(digest) for split, digest in found.items()}
        source, target = (Vocabulary.load(workdir / f"{side}_vocabulary.json") for side in ("source", "target"))
        digests = {split: value for split, value in digests.items() if same_data(saved, config, split)}
        return cls(config, workdir, source, target, sizes, lengths, digests)

    def save(self) -> None:
        """Writes the files of `load` to the work directory."""
        for side in ("source", "target"):
            getattr(self, side).save(self.workdir / f"{side}_vocabulary.json")
        write_text(self.workdir / "buckets.json", json.dumps(self.sizes))
        write_text(self.workdir / "lengths.json", json.dumps(self.lengths._asdict()))
        write_text(self.workdir / "data.json", json.dumps(self.digests))

    # --- data

    @functools.cached_property
    def corpus(self) -> Corpus:
        """The dataset of the config, with the contents of `digests`."""
        return open_corpus(self.config, self.digests)

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits among train, validation and test."""
        return self.corpus.splits

    def open_data(self) -> None:
        """Checks that every split of the run is available, unchanged, and short enough.

        Raises:
          UserError: names the split, or the first text with more than `data.longest` tokens.
        """
        if gone := [split for split in self.digests if split not in self.splits]:
            raise UserError(
                f"config.data: {self.workdir} was made with a {gone[0]} split; restore it, or use another --workdir"
            )
        for split in self.splits[1:]:
            refuse_long(self.encode(self.corpus.read(split)), self.config.data.longest, split)
        self.training_pairs  # noqa: B018 (whatever is wrong with the training split is found now)
        self.digests.update({split: self.corpus.digest(split) for split in self.splits})

    @functools.cached_property
    def _encoded(self) -> Pairs:
        """All pairs of the training split."""
        examples = self.corpus.stream("train")
        return encoded_pairs(examples, self.corpus.digest("train"), self.source, self.target)

    @functools.cached_property
    def training_pairs(self) -> Pairs:
        """The pairs to train on.

        Raises:
          UserError: all have more than `data.longest` tokens on a side.
        """
        return without_long(self._encoded, self.config.data.longest)

    def encode(self, examples: Iterable[Example]) -> Pairs:
        """Encodes one pair for each target of each example; `examples` are iterated over more than once."""
        return encode(examples, self.source, self.target)

    def longest(self) -> int:
        """Returns the number of steps of the longest training sequence."""
        return max(map(max, self.sizes))

    def output_limit(self, source_lengths: np.ndarray) -> np.ndarray:
        """Bounds the tokens of an output, including EOS, for sources of these lengths: `evaluation.max_tokens` if set,
        else a limit from the lengths in training."""
        fixed = self.config.evaluation.max_tokens
        return np.full_like(source_lengths, fixed) if fixed else self.lengths.output_limit(source_lengths)

    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Starts the training batches in an order drawn from a seed."""
        how = {"seed": seed, "process": process, "processes": processes, "alike": self.config.training.steps_per_call}
        return iter(training_batches(self.training_pairs, self.sizes, self.config.training.batch_size, **how))

    def describe(self, rows: Sequence[int]) -> str:
        """Names training examples by their lines, or by their sources if they are not from the user's files."""
        return self.corpus.describe("train", self.training_pairs.examples[list(rows)].tolist())

    def summary(self) -> Iterator[str]:
        """Yields the number of pairs and the length buckets."""
        left = len(self._encoded) - len(self.training_pairs)
        out = f" ({left:,} longer than config.data.longest skipped)" if left else ""
        yield f"{len(self.training_pairs):,} pairs{out}, buckets {self.sizes}"

    def log_data(self) -> None:
        """Logs the sizes of the vocabularies and the shares of unknown tokens."""
        log_vocabularies(
            self, {"train": self.training_pairs, "validation": self.encode(self.corpus.read("validation"))}
        )

    # --- model and loss

    def make_model(self) -> Seq2Seq:
        """Makes its own model with the initial parameters, drawn from the seed.

        Raises:
          UserError: unknown names in the config, or sizes that do not fit.
        """
        return make_model(self.config, len(self.source), len(self.target))

    @property
    def meanings(self) -> dict[str, Any]:
        """The vocabularies."""
        return {"source vocabulary": self.source, "target vocabulary": self.target}

    def start_params(self, params: ModelParams) -> ModelParams:
        """Returns initial parameters with the available pretrained embeddings.

        Raises:
          UserError: a file of embeddings that cannot be read, or of another size.
        """
        for side, part in (("source", "encoder"), ("target", "decoder")):
            if path := self.config.data[side].embeddings:
                name = f"{part}/embedding/embedding"
                params = params | {name: pretrained(path, getattr(self, side), params[name], side)}
        return params

    def loss(self, model: Seq2Seq, batch: Batch, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the cross-entropy of the labels, smoothed, by teacher forcing or scheduled sampling."""
        forcing = make_teacher_forcing(self.config) if rngs is not None else None
        share = forcing(step) if forcing else None
        logits = model(batch.source, batch.source_lengths, batch.inputs, rngs=rngs, teacher_forcing=share)
        smoothing = self.config.training.label_smoothing if rngs is not None else 0.0
        weights = length_weights(batch.target_lengths, len(batch.labels))
        total = cross_entropy(logits, batch.labels, weights, smoothing=smoothing)
        labels, cells = batch.target_lengths.sum(), batch.source.size + batch.labels.size
        padding = (cells - batch.source_lengths.sum() - labels) / cells
        return Loss(total, labels, carry, {"padding": padding})

    def probe(self, split: str) -> Batch:
        """Returns pairs of the most frequent lengths of a split."""
        return probe_batch(self, self.corpus.read(split))

    def watched_loss(self, model: Seq2Seq, batch: Batch) -> Array:
        """Computes the mean cross-entropy of a batch without padding; a decoder with attention in its steps is called
        step by step, so that a watched recurrence records each step."""
        states, memory = model.encode(batch.source, batch.source_lengths)
        if model.decoder.one_by_one:
            found = []
            for tokens in batch.inputs:
                states, (step_logits, _) = model.decoder.step(states, tokens, memory)
                found.append(step_logits)
            logits = jnp.stack(found)
        else:
            logits, _ = model.decoder.teacher_forced(batch.inputs, states, memory)
        return cross_entropy(logits, batch.labels, jnp.ones_like(batch.labels)) / batch.labels.size

    # --- scores and answers

    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes the scorer of a split: by greedy search, or if `final` by the search of the config."""
        from rnnlab.tasks.seq2seq.evaluation import Evaluator

        evaluator = Evaluator(self, beam_size=self.config.evaluation.beam_size if final else 1)

        def scores(params: ModelParams, split: str) -> Scores:
            examples = self.corpus.read(split)
            refuse_long(self.encode(examples), self.config.data.longest, split)
            found = evaluator.evaluate(params, examples)
            return {"examples": len(examples), **found} if final else found

        return scores

    def lower_is_better(self, metric: str) -> bool:
        """Returns whether a metric is an error."""
        return metric in LOSSES or find_metrics(self.config)[metric].lower_is_better

    def scored_by(self, metric: str) -> dict[str, Any]:
        """Returns the fields of `evaluation` that affect a metric on validation, by greedy search."""
        names = ("max_tokens", "bleu_tokenizer") if metric == "bleu" else () if metric in LOSSES else ("max_tokens",)
        return {name: self.config.evaluation[name] for name in names}

    def curves(self) -> dict[str, str]:
        """Returns the title of the curve of each metric."""
        names = map(name_of_own, metric_names(self.config))
        return {name: f"{name.upper()} (%)" if name in METRICS else name for name in names}

    def finish(self, params: ModelParams) -> Shown:
        """Draws attention weights and predicts samples."""
        from rnnlab.tasks.seq2seq.samples import show_samples

        return show_samples(self, params)

    def predictor(
        self,
        params: ModelParams,
        *,
        n_best: int = 0,
        token_scores: bool = False,
        attention: pathlib.Path | None = None,
    ) -> Predictor:
        """Makes the predictor of lines; options as in `LinePredictor`."""
        from rnnlab.tasks.seq2seq.prediction import LinePredictor

        return LinePredictor(self, params, n_best=n_best, token_scores=token_scores, attention=attention)

    def encode_lines(self, params: ModelParams, lines: Sequence[str]) -> list[Any]:
        """Returns for each line an `Encoded`: outputs and last states of the encoder."""
        from rnnlab.tasks.seq2seq.evaluation import Evaluator

        return Evaluator(self, beam_size=1).encode(params, [self.source.encode(line) for line in lines])

    def attention(self, params: ModelParams, lines: Sequence[str]) -> list[np.ndarray]:
        """Returns the attention weights for the best output of each line, `[output, source]`, EOS's row last.

        Raises:
          UserError: the model has no attention.
        """
        from rnnlab.tasks.seq2seq.attention import find_attention

        return find_attention(self, params, lines)

    def breakdown(self) -> None:
        """Prints the milliseconds of each part of a step."""
        from rnnlab.tasks.seq2seq.breakdown import breakdown

        breakdown(self)

    def exports(self) -> Exports:
        """Returns the searches, the scores of given outputs, and the parts of a search.

        Raises:
          UserError: the config samples outputs.
        """
        from rnnlab.tasks.seq2seq.exports import make_exports

        return make_exports(self)

    # --- ensembles

    @property
    def members(self) -> tuple[Task, ...]:
        """The tasks of an ensemble, this one first."""
        return (self, *self.others)

    def join_params(self, each: Sequence[ModelParams]) -> ModelParams:
        """Joins the parameters of the members for the ensemble's model."""
        if not self.others:
            return each[0]
        return {f"models/{i}/{name}": value for i, own in enumerate(each) for name, value in own.items()}

    @functools.cached_property
    def answering_sketch(self) -> Any:
        """Returns the abstract model of `join_params`, as `sketch`: its own, or an ensemble."""
        if not self.others:
            return self.sketch
        return nnx.eval_shape(lambda: Ensemble([own.make_model() for own in (self, *self.others)]))
