"""Predicts answers to sequences: a class, numbers, or an answer at each step."""

import collections
import functools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.data.file_names import resolve_files
from rnnlab.data.pipeline import Sizes, bucket_sizes, training_batches
from rnnlab.data.sequences.examples import Examples
from rnnlab.data.sequences.parting import digest
from rnnlab.data.vocabulary import UNK
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.models import ManyToMany, ManyToOne
from rnnlab.models.tokens import Words
from rnnlab.tasks.base import Batches, Carry, Loss, ModelParams, Predictor, Scores, Task
from rnnlab.tasks.exports import Exports
from rnnlab.tasks.sequence.answers import find_answer
from rnnlab.tasks.sequence.checks import check_best_metric, check_order, check_used
from rnnlab.tasks.sequence.config import FIELDS
from rnnlab.tasks.sequence.data import read_splits
from rnnlab.tasks.sequence.inputs import Inputs
from rnnlab.tasks.sequence.model import Sizing, make_model
from rnnlab.tasks.sequence.rows import SequenceBatch, SequenceRows, Steps
from rnnlab.tasks.shown import Shown
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.workdir import reading_json

_PROBED = 8  # sequences for measuring gradients
_FILE = "sequence.json"


class Known(NamedTuple):
    """The metadata of a run's training data.

    Attributes:
      inputs: the encoding of inputs.
      answer: the statistics of answers.
      sizes: the length buckets.
      digests: of the contents of each split.
    """

    inputs: Inputs
    answer: dict[str, Any]
    sizes: Sizes
    digests: dict[str, str]


class SequenceTask(Task):
    """One answer for each sequence, or one for each of its steps.

    Attributes:
      known: the metadata of the training data, from before training.
      answer: the kind of answer.
    """

    fields: ClassVar = FIELDS
    places: ClassVar = ("data.directory", "data.files")  # the same data may move
    unit: ClassVar = "sequences"

    def __init__(self, config: ConfigDict, workdir: pathlib.Path, known: Known):
        super().__init__(config, workdir)
        self.known, self.answer = known, find_answer(config.data)(known.answer)
        self._rows: dict[str, SequenceRows] = {}

    # --- the work directory

    @classmethod
    def variant(cls, config: ConfigDict) -> type[Task]:
        """Returns the forecasting task if the config selects it."""
        if config.data.answer != "forecast":
            return cls
        from rnnlab.tasks.sequence.forecast import ForecastTask

        return ForecastTask

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses an invalid config.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        super().check(config)
        make_optimizer(config.training)
        check_best_metric(config, ("loss", *find_answer(config.data).metrics))
        check_order(config)
        check_used(config)
        sketch = nnx.eval_shape(lambda: make_model(config, Sizing.sketch(config)))
        Intervention(config.training.intervention, sketch)

    @classmethod
    def resolve_paths(cls, config: ConfigDict) -> None:
        """Makes file names absolute, in place."""
        resolve_files(config.data)

    @classmethod
    def has_data_of(cls, config: ConfigDict, workdir: pathlib.Path) -> bool:
        """Returns whether the current data of a config are those of a work directory."""
        try:
            with reading_json(workdir / _FILE) as made:
                digests = made["digests"]
            return digests == {split: digest(found) for split, found in read_splits(config.data).items()}
        except UserError:
            return False

    @classmethod
    def create(cls, config: ConfigDict, workdir: pathlib.Path) -> Self:
        """Computes scalers, vocabularies, classes and length buckets from the training split."""
        splits = read_splits(config.data)
        train = splits["train"]
        inputs, answer = Inputs.learn(train, config), find_answer(config.data).learn(train)
        digests = {split: digest(found) for split, found in splits.items()}
        task = cls(config, workdir, Known(inputs, answer, [], digests))
        task.__dict__["examples"] = splits  # read once
        sizes = bucket_sizes(task.rows("train"), config.data.buckets)
        task.known = task.known._replace(sizes=sizes)
        return task

    @classmethod
    def load(cls, config: ConfigDict, saved: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads the file of `save`.

        Raises:
          UserError: the file is missing or damaged.
        """
        with reading_json(workdir / _FILE) as found:
            sizes: Sizes = [tuple(map(int, size)) for size in found["sizes"]]
            digests = {str(split): str(value) for split, value in found["digests"].items()}
            known = Known(Inputs.of(found["inputs"]), found["answer"], sizes, digests)
            return cls(config, workdir, known)

    def save(self) -> None:
        """Writes the file of `load` to the work directory."""
        found = self.known._asdict() | {"inputs": self.known.inputs.description}
        write_text(self.workdir / _FILE, json.dumps(found))

    # --- data

    @functools.cached_property
    def examples(self) -> dict[str, Examples]:
        """The examples of each split, unchanged since the start of the run.

        Raises:
          UserError: they have changed, or cannot be read.
        """
        found = read_splits(self.config.data)
        for split, made in self.known.digests.items():
            if split not in found:
                raise UserError(f"config.data: {self.workdir} was made with a {split} split; restore it")
            if digest(found[split]) != made:
                raise UserError(
                    f"{found[split].places(0)}: the {split} split has changed since the run was started; restore it, "
                    "or use another --workdir"
                )
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """The available splits."""
        return tuple(self.known.digests)

    def open_data(self) -> None:
        """Checks that every split is available, unchanged, and can be encoded.

        Raises:
          UserError: names the place of the error.
        """
        for split in self.examples:
            self.rows(split)

    def rows(self, split: str) -> SequenceRows:
        """Encodes a split, once.

        Raises:
          UserError: an example that does not fit those of train, with its place.
        """
        if split not in self._rows:
            self._rows[split] = self.encode(self.examples[split])
        return self._rows[split]

    def encode(self, examples: Examples) -> SequenceRows:
        """Encodes examples, with their answers if they have any.

        Raises:
          UserError: an example that does not fit those of train, with its place.
        """
        if examples.answers is None:
            return self.known.inputs.encode(examples, None)
        labels = self.answer.encode(examples)
        if self.answer.per_step:
            for number, (own, read) in enumerate(zip(labels, examples.inputs, strict=True)):
                if len(own) != len(read):
                    raise UserError(f"{examples.places(number)}: {len(own)} answers for {len(read)} steps")
            return self.known.inputs.encode(examples, Steps.of(labels))
        return self.known.inputs.encode(examples, np.stack(labels))

    def log_data(self) -> None:
        """Logs the treatment of examples, the shares of unknown tokens, and classes that are hard to learn."""
        log = logging.getLogger("rnnlab")
        remarks = [remark for examples in self.examples.values() for remark in examples.remarks]
        for remark in dict.fromkeys((*remarks, *self.known.inputs.remarks())):  # splits of one file share its remarks
            log.info("%s", remark)
        for split in self.examples:
            if unknown := self.known.inputs.unknown(self.rows(split)):
                log.info("%s: %.2f %% of the tokens are unknown", split, 100 * unknown)
        for line in self.answer.warnings():
            log.warning("%s", line)

    def summary(self) -> Iterator[str]:
        """Yields the sizes of the splits and of the outputs."""
        sizes = ", ".join(f"{len(self.rows(split)):,} of {split}" for split in self.splits)
        lengths = self.rows("train").inputs.lengths
        buckets = [steps for (steps,) in self.known.sizes]
        yield f"sequences: {sizes}; {lengths.min()} to {lengths.max()} steps, buckets {buckets}"
        yield from self.known.inputs.lines()
        yield f"{self.config.data.answer}: {self.answer.out_features} outputs"

    def longest(self) -> int:
        """Returns the number of steps of the longest training sequence."""
        return int(self.known.sizes[-1][0])

    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Starts the training batches in an order drawn from a seed."""
        how = {"seed": seed, "process": process, "processes": processes, "alike": self.config.training.steps_per_call}
        return iter(training_batches(self.rows("train"), self.known.sizes, self.config.training.batch_size, **how))

    def describe(self, rows: Sequence[int]) -> str:
        """Names training examples by their places."""
        return ", ".join(self.examples["train"].places(row) for row in rows[:_PROBED])

    # --- model and loss

    def make_model(self) -> ManyToOne | ManyToMany:
        """Makes the model with its initial parameters, drawn from the seed."""
        return make_model(self.config, Sizing.of(self.known.inputs, self.answer))

    @property
    def meanings(self) -> dict[str, Any]:
        """The vocabularies and the classes."""
        known = self.known.inputs
        return {
            "vocabulary": known.vocabulary,
            "characters": known.characters,
            "classes": self.known.answer.get("labels"),
        }

    def loss(self, model: Any, batch: SequenceBatch, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the loss of the answers; in training with the noise of the config."""
        inputs = batch.inputs if rngs is None else self._disturbed(batch.inputs, rngs)
        outputs = model(inputs, batch.seq_lengths, dt=batch.dt, rngs=rngs)
        total, weight = self.answer.loss(outputs, batch, None if rngs is None else self.config.training)
        cells = len(jax.tree.leaves(inputs)[0]) * batch.seq_lengths.size
        padding = (cells - batch.seq_lengths.sum()) / cells
        return Loss(total, weight, carry, {"padding": padding})

    def _disturbed(self, inputs: Any, rngs: nnx.Rngs) -> Any:
        training = self.config.training
        ids = inputs.ids if isinstance(inputs, Words) else inputs
        if self.known.inputs.vocabulary is None:
            noise = training.input_noise
            return inputs + noise * jax.random.normal(rngs.dropout(), inputs.shape) if noise else inputs
        if not training.word_dropout:
            return inputs
        ids = jnp.where(jax.random.bernoulli(rngs.dropout(), training.word_dropout, ids.shape), UNK, ids)
        return inputs._replace(ids=ids) if isinstance(inputs, Words) else ids

    def probe(self, split: str) -> SequenceBatch:
        """Returns a few sequences of the most frequent length of a split."""
        rows = self.rows(split)
        lengths = rows.inputs.lengths.tolist()
        length, _ = collections.Counter(lengths).most_common(1)[0]
        chosen = [row for row, own in enumerate(lengths) if own == length][:_PROBED]
        return rows.assemble(chosen, (length,), len(chosen))._replace(dt=None)  # gradient flow assumes equal steps

    # --- scores and answers

    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes the scorer of a split: the loss and the scores of the kind of answer."""
        from rnnlab.tasks.sequence.evaluation import Evaluator

        evaluator = Evaluator(self)
        labels_of = functools.cache(lambda split: self.answer.encode(self.examples[split]))

        def scores(params: ModelParams, split: str) -> Scores:
            outputs = evaluator.outputs(params, self.rows(split))
            found = self.answer.scores(outputs, labels_of(split), final=final)
            return {"examples": len(outputs), **found} if final else found

        return scores

    def lower_is_better(self, metric: str) -> bool:
        """Returns whether a metric is an error."""
        return self.answer.metrics.get(metric, True)

    def curves(self) -> dict[str, str]:
        """Returns the title of the curve of each score."""
        return {name: name if lower else f"{name} (%)" for name, lower in self.answer.metrics.items()}

    def finish(self, params: ModelParams) -> Shown:
        """Draws the confusion matrix or the labels of a sequence, and predicts samples."""
        from rnnlab.tasks.sequence.samples import show_samples

        return show_samples(self, params)

    def predictor(self, params: ModelParams, *, n_best: int = 0) -> Predictor:
        """Makes the predictor for a file; options as in `FilePredictor`."""
        from rnnlab.tasks.sequence.prediction import FilePredictor

        return FilePredictor(self, params, n_best=n_best)

    def exports(self) -> Exports:
        """Returns the model as a program of encoded sequences."""
        from rnnlab.tasks.sequence.exports import make_exports

        return make_exports(self)
