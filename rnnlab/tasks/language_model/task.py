"""A language model of running text, read in parallel streams whose state is carried from piece to piece."""

import functools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.config import get_field
from rnnlab.data.running_text import Encoded, RunningText, Texts, build_vocabulary, encode_text
from rnnlab.data.streams import Piece, Streams
from rnnlab.data.vocabulary import UNK, Vocabulary
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.losses import cross_entropy, length_weights
from rnnlab.models.language_model import LanguageModel, Read
from rnnlab.tasks.base import Batches, Carry, Loss, ModelParams, Predictor, Scores, Task
from rnnlab.tasks.exports import Exports
from rnnlab.tasks.language_model.config import FIELDS, check_ranges, resolve_paths
from rnnlab.tasks.shown import Sample, Shown
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.workdir import reading_json

_OPTIONS = ("unit", "language", "lowercase", "normal_form", "min_count", "size")  # of the vocabulary
_VOCABULARY, _DIGESTS = "vocabulary.json", "data.json"
_MANY_UNKNOWN = 0.1  # share of a split's tokens
_PROBED = 8  # sequences for measuring gradients


class LanguageModelTask(Task):
    """Prediction of the next token of a running text.

    Attributes:
      vocabulary: of the training text.
      digests: of the text of each split.
    """

    fields: ClassVar = FIELDS
    fixed: ClassVar = (*Task.fixed, "training.batch_size")
    fixed_in_use: ClassVar = ("model", *(f"data.{name}" for name in _OPTIONS))
    places: ClassVar = ("data.prepared", "data.directory", "data.files")

    def __init__(self, config: ConfigDict, workdir: pathlib.Path, vocabulary: Vocabulary, digests: dict[str, str]):
        super().__init__(config, workdir)
        self.vocabulary, self.digests = vocabulary, digests
        self._encoded: dict[str, Encoded] = {}

    # --- the work directory

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses an invalid config, before anything is read or written.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        check_ranges(config)
        make_optimizer(config.training)
        Intervention(config.training.intervention, nnx.eval_shape(lambda: _make_model(config, UNK + 2)))

    @classmethod
    def resolve_paths(cls, config: ConfigDict) -> None:
        """Makes the paths of the data absolute, in place.

        Raises:
          UserError: an empty file name.
        """
        resolve_paths(config)

    @classmethod
    def has_data_of(cls, config: ConfigDict, workdir: pathlib.Path) -> bool:
        """Returns whether the current texts of a config are those of a work directory; unavailable texts count as the
        same."""
        try:
            with reading_json(workdir / _DIGESTS) as found:
                made = dict(found)
        except UserError:
            return False
        now = _digests_of(json.dumps(config.data.to_dict()))
        return all(now.get(split, digest) == digest for split, digest in made.items())

    @classmethod
    def create(cls, config: ConfigDict, workdir: pathlib.Path) -> Self:
        """Makes the vocabulary of the training text, or loads that of another run."""
        texts = _open_texts(config.data)
        options = {name: config.data[name] for name in _OPTIONS}
        if config.data.vocabulary:
            vocabulary = _vocabulary_of_another(config.data.vocabulary, options)
        else:
            vocabulary = build_vocabulary(texts.read("train"), options)
        task = cls(config, workdir, vocabulary, {split: texts.read(split).digest for split in texts.splits})
        task.__dict__["texts"] = texts  # read once
        return task

    @classmethod
    def load(cls, config: ConfigDict, saved: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads the vocabulary and the digests; digests only of splits with the same location.

        Raises:
          UserError: a file is missing or damaged.
        """
        with reading_json(workdir / _DIGESTS) as found:
            digests = {split: str(digest) for split, digest in found.items() if _same_text(saved, config, split)}
        return cls(config, workdir, Vocabulary.load(workdir / _VOCABULARY), digests)

    def save(self) -> None:
        """Writes the files of `load` to the work directory."""
        self.vocabulary.save(self.workdir / _VOCABULARY)
        write_text(self.workdir / _DIGESTS, json.dumps(self.digests))

    # --- data

    @functools.cached_property
    def texts(self) -> Texts:
        """The texts of the config."""
        return _open_texts(self.config.data)

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits among train, validation and test."""
        return self.texts.splits

    def text(self, split: str) -> RunningText:
        """Returns the text of a split.

        Raises:
          UserError: no such text, or it has changed since the start of the run.
        """
        if split not in self.splits:
            raise UserError(f"split {split!r}: no such text; allowed: {', '.join(self.splits)}")
        found = self.texts.read(split)
        if self.digests.get(split, found.digest) != found.digest:
            raise UserError(
                f"{found.place}: the {split} text has changed since the run was started; restore it, or use another "
                "--workdir"
            )
        return found

    def encoded(self, split: str) -> Encoded:
        """Returns the ids of a split; raises as `text`."""
        if split not in self._encoded:
            self._encoded[split] = encode_text(self.text(split), self.vocabulary)
        return self._encoded[split]

    def open_data(self) -> None:
        """Checks that every text of the run is available and unchanged, and that the training text fills a batch.

        Raises:
          UserError: names the split or the file.
        """
        if gone := [split for split in self.digests if split not in self.splits]:
            raise UserError(
                f"config.data: {self.workdir} was made with a {gone[0]} text; restore it, or use another --workdir"
            )
        training = self.config.training
        tokens, needed = len(self.encoded("train").ids), training.batch_size * training.bptt
        if tokens < needed:
            raise UserError(
                f"{self.text('train').place}: {tokens:,} tokens to train on, fewer than one batch of config.training."
                f"batch_size={training.batch_size} times bptt={training.bptt}"
            )
        self.digests.update({split: self.text(split).digest for split in self.splits})

    def log_data(self) -> None:
        """Logs the numbers of tokens and of unknown ones of each split: a warning if many are unknown."""
        found = {split: self.encoded(split) for split in self.splits}
        counts = ", ".join(f"{split} {len(each.ids):,} ({each.unknown:,} unknown)" for split, each in found.items())
        many = any(each.unknown > _MANY_UNKNOWN * len(each.ids) for each in found.values())
        hint = "; look at config.data.unit and min_count" if many else ""
        level = logging.WARNING if many else logging.INFO
        logging.getLogger("rnnlab").log(level, "tokens: %s%s", counts, hint)

    def summary(self) -> Iterator[str]:
        """Yields the size of the vocabulary and the steps per epoch."""
        training = self.config.training
        steps = len(self.encoded("train").ids) / (training.batch_size * training.bptt)
        yield f"{len(self.vocabulary) - (UNK + 1):,} {self.vocabulary.unit} tokens; {steps:,.1f} steps per epoch"

    def longest(self) -> int:
        """Returns the number of steps of a piece."""
        return self.config.training.bptt

    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Starts the pieces of the streams, cut by a seed."""
        training = self.config.training
        return Streams(
            self.encoded("train").ids,
            batch_size=training.batch_size,
            bptt=training.bptt,
            random=training.random_bptt,
            seed=seed,
            process=process,
            processes=processes,
        )

    def probe(self, split: str) -> Piece:
        """Returns a few pieces of a text, read from initial states."""
        ids, steps = self.encoded(split).ids, self.config.training.bptt
        places = steps * np.arange(_PROBED) + np.arange(steps + 1)[:, None]
        read = ids[places % len(ids)]
        return Piece(read[:-1], read[1:], np.full(_PROBED, steps, np.int32), np.ones(_PROBED, bool))

    def describe(self, rows: Sequence[int]) -> str:
        """Describes the positions of the streams of a step in the training text."""
        return f"at tokens {', '.join(f'{row:,}' for row in rows[:_PROBED])} ... of {self.text('train').place}"

    # --- model and loss

    def make_model(self) -> LanguageModel:
        """Makes the model with its initial parameters, drawn from the seed.

        Raises:
          UserError: unknown names in the config, or sizes that do not fit.
        """
        return _make_model(self.config, len(self.vocabulary))

    @property
    def meanings(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"vocabulary": self.vocabulary}

    def start_carry(self, model: Any, rows: int) -> Carry:
        """Makes the states before the first token, for a number of streams."""
        return model.start(rows)

    def loss(self, model: LanguageModel, batch: Piece, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the cross-entropy of a piece.

        Activation regularisation has gradients, but is excluded from the logged loss. The gradient of a piece is
        weighted by its length relative to a full one; with plain SGD and no clipping that equals the learning-rate
        scaling of Merity et al. 2018.
        """
        start, training = model.start(batch.inputs.shape[1]), self.config.training
        states = jax.tree.map(lambda s, c: jnp.where(batch.starts[:, None], s, c), start, carry or start)
        read = model(batch.inputs, states, batch.lengths, rngs=rngs)
        weights = length_weights(batch.lengths, len(batch.inputs))
        nats = cross_entropy(read.logits, batch.labels, weights)
        count = weights.sum().astype(jnp.float32)
        total = nats
        if rngs is not None:
            penalty = _activation_penalty(
                read, batch.lengths, training.activation_regularisation, training.temporal_regularisation
            )
            share = batch.lengths.mean() / training.bptt
            total = _with_gradient_of(nats, share * (nats + count * penalty))
        return Loss(total, count, jax.lax.stop_gradient(read.states))

    # --- scores and answers

    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes the scorer of a split: `loss`, `perplexity`, `bits_per_token`, `bits_per_character`."""
        from rnnlab.tasks.language_model.evaluation import Evaluator

        return Evaluator(self, final=final).scores

    def scored_by(self, metric: str) -> dict[str, Any]:
        """Returns the fields that affect the validation scores."""
        return {name: self.config.evaluation[name] for name in ("validation_streams", "warmup")}

    def curves(self) -> dict[str, str]:
        """Returns the titles of the curves of the other metrics."""
        return {"perplexity": "perplexity", "bits_per_character": "bits per character"}

    def finish(self, params: ModelParams) -> Shown:
        """Samples texts from the model."""
        from rnnlab.tasks.language_model.prediction import sample_texts

        return Shown([Sample("", text) for text in sample_texts(self, params)])

    def predictor(self, params: ModelParams, *, n_best: int = 0, token_scores: bool = False) -> Predictor:
        """Makes the predictor that continues lines, or scores them; options as in `TextPredictor`."""
        from rnnlab.tasks.language_model.prediction import TextPredictor

        return TextPredictor(self, params, n_best=n_best, token_scores=token_scores)

    def exports(self) -> Exports:
        """Returns the model with its state, and the search of the config."""
        from rnnlab.tasks.language_model.exports import make_exports

        return make_exports(self)


def _make_model(config: ConfigDict, vocabulary_size: int) -> LanguageModel:
    try:
        return LanguageModel(vocabulary_size, rngs=nnx.Rngs(jax.random.key(config.seed)), **config.model.to_dict())
    except ValueError as error:
        raise UserError(f"config.model: {error}") from None


def _activation_penalty(read: Read, lengths: Array, alpha: float, beta: float) -> Array:
    """Returns `alpha` times the mean square of the dropped outputs, plus `beta` times that of the outputs' changes."""
    weights = length_weights(lengths, len(read.outputs))[..., None]
    changes = jnp.square(read.outputs[1:] - read.outputs[:-1])
    penalty = jnp.zeros(())
    if alpha:
        penalty += alpha * _mean(jnp.square(read.dropped), weights)
    if beta:
        penalty += beta * _mean(changes, weights[1:])
    return penalty


def _mean(values: Array, weights: Array) -> Array:
    return (values * weights).sum() / jnp.maximum(weights.sum() * values.shape[-1], 1)


def _with_gradient_of(value: Array, other: Array) -> Array:
    return jax.lax.stop_gradient(value) + other - jax.lax.stop_gradient(other)


def _vocabulary_of_another(workdir: str, options: dict[str, Any]) -> Vocabulary:
    """Loads the vocabulary of another run.

    Raises:
      UserError: it was made with other options.
    """
    vocabulary = Vocabulary.load(pathlib.Path(workdir) / _VOCABULARY)
    try:
        vocabulary.check_options(**options, reverse=False)
    except UserError as error:
        raise UserError(f"config.data.{error} in config.data.vocabulary") from None
    return vocabulary


def _open_texts(data: ConfigDict) -> Texts:
    shares = {"validation": data.validation_share, "test": data.test_share}
    where = {"name": data.name, "directory": data.directory, "prepared": data.prepared}
    return Texts(data.files.to_dict(), shares=shares, unit=data.unit, **where)


@functools.cache  # the runs of a sweep mostly have the same data
def _digests_of(data: str) -> dict[str, str]:
    """Returns the digest of each text of a config, in JSON; none if the texts are not available."""
    try:
        texts = _open_texts(ConfigDict(json.loads(data)))
        return {split: texts.read(split).digest for split in texts.splits}
    except UserError:
        return {}


def _same_text(saved: ConfigDict, config: ConfigDict, split: str) -> bool:
    """Returns whether two configs take a split from the same location."""
    fields = ("data.name", "data.files.train", f"data.files.{split}", "data.validation_share", "data.test_share")
    return all(get_field(saved, field) == get_field(config, field) for field in fields)
