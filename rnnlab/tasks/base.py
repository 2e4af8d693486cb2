"""What the trainer knows of a task: everything else (data, model, loss, scores) is the task's own.

Imports `config` and `errors` only.
"""

import abc
import copy
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import jax.numpy as jnp
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.config import Fields, check_fields
from rnnlab.errors import UserError

Carry = Any  # a pytree of `[batch, ...]`: recurrent states that one step leaves to the next; () for most tasks
ModelParams = dict[str, Array]  # a model's, by their path
Scores = dict[str, float | str]


class Loss(NamedTuple):
    """What a batch comes to.

    Attributes:
      total: sum of the losses of everything that counts.
      weight: by what the sum is divided for the mean, such as the number of labels.
      carry: what the next batch starts from.
      figures: further numbers of the step, of which the log has means.
    """

    total: Array
    weight: Array
    carry: Carry = ()
    figures: Mapping[str, Array] = {}


class Batches(Protocol):
    """Batches without end, with a position that can be saved."""

    rows: Sequence[int]  # the training examples of the batch that came last, of all processes

    def __next__(self) -> Any:
        """Returns this process's part of a batch: a pytree of arrays `[batch]` or `[time, batch, ...]`."""

    def get_state(self) -> dict[str, Any]:
        """Returns the position, as JSON can hold it."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes up a position again."""


class Predictor(abc.ABC):
    """Answers lines, and tells at the end what was odd about them.

    Attributes:
      takes_whole: all that is read is one file; it is given as the only line, and the answer has any number of lines.
    """

    takes_whole: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, lines: Sequence[bytes], first: int) -> list[str]:
        """Returns an answer for each line, in order; the number of the first one counts from 0."""

    def remarks(self) -> Iterator[str]:
        """Yields what to log once all lines are answered."""
        yield from ()


class Task(abc.ABC):
    """A task of one run: what is trained on what, and how it is scored.

    Attributes:
      config, workdir: of the run.
      fields: the config's fields, each with its meaning and range.
      fixed: fields of the config that cannot change while a run is trained; `fixed_in_use`: afterwards; `places`: those
        of them that only say where the same things lie.
      unit: what `Loss.weight` counts, in the plural.
    """

    config: ConfigDict
    workdir: pathlib.Path
    fields: ClassVar[Fields]
    fixed: ClassVar[tuple[str, ...]] = (
        "seed",
        "data",
        "model",
        "training.optimizer",
        "training.nonmonotone",
        "training.intervention",
        "training.init_from",
    )
    fixed_in_use: ClassVar[tuple[str, ...]] = ("model",)
    places: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "tokens"

    def __init__(self, config: ConfigDict, workdir: pathlib.Path):
        self.config, self.workdir = config, workdir

    @classmethod
    def variant(cls, config: ConfigDict) -> type["Task"]:
        """Returns the class that does what a config asks for: this one, or one that it leaves that part to."""
        return cls

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses a config that no run can use, before anything is read or written.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        check_fields(config, cls.fields)

    @classmethod
    def resolve_paths(cls, config: ConfigDict) -> None:
        """Makes the paths of a config absolute, in place: they are then the same from any folder."""

    @classmethod
    def has_data_of(cls, config: ConfigDict, workdir: pathlib.Path) -> bool:
        """Whether a config names the same data, as they are now, that a work directory was made with."""
        return True

    @classmethod
    def create(cls, config: ConfigDict, workdir: pathlib.Path) -> Self:
        """Makes the task from its data (vocabularies, sizes, scalers); writes nothing."""
        return cls(config, workdir)

    @classmethod
    def load(cls, config: ConfigDict, saved: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads what `save` wrote; the data need not be there.

        Args:
          config: that holds.
          saved: that of the work directory; data that it names otherwise may be others.

        Raises:
          UserError: a file is missing or damaged.
        """
        return cls(config, workdir)

    def save(self) -> None:
        """Writes what `load` reads to the work directory."""

    def open_data(self) -> None:
        """Makes sure, before training, that the data are there and those that the run was made with.

        Raises:
          UserError: they are not.
        """

    def log_data(self) -> None:
        """Logs what a person should know of the data before training begins."""

    @property
    @abc.abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits that there are, of train, validation and test."""

    def check_split(self, split: str) -> None:
        """Refuses a split that there is not.

        Raises:
          UserError: names it and those that there are.
        """
        if split not in self.splits:
            raise UserError(f"split {split!r}: there is none; allowed: {', '.join(self.splits)}")

    @abc.abstractmethod
    def make_model(self) -> nnx.Module:
        """Makes the model with its initial parameters, which follow from the seed."""

    @functools.cached_property
    def sketch(self) -> Any:
        """The model with the shapes of its parameters instead of values, which takes a tenth of the time."""
        return nnx.eval_shape(self.make_model)

    @property
    def meanings(self) -> Mapping[str, Any]:
        """What rows of parameters stand for, such as vocabularies, by a name: where it differs, they mean others."""
        return {}

    def start_params(self, params: ModelParams) -> ModelParams:
        """Returns initial parameters with what the data bring along, such as pretrained embeddings."""
        return params

    @abc.abstractmethod
    def longest(self) -> int:
        """Returns the number of steps of the longest training sequence."""

    @abc.abstractmethod
    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Begins the training batches in the order that follows from a seed.

        So many in a row as `training.steps_per_call` says have the same shapes, counted from the first.
        """

    def start_carry(self, model: nnx.Module, rows: int) -> Carry:
        """Makes what the first batch starts from, for so many sequences."""
        return ()

    @abc.abstractmethod
    def loss(self, model: Any, batch: Any, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the loss of a batch; rngs (`dropout`, `sampling`) are given in training only."""

    @abc.abstractmethod
    def probe(self, split: str) -> Any:
        """Returns a few sequences of equal lengths, without padding, as a batch: to measure the gradient's flow."""

    def watched_loss(self, model: Any, batch: Any) -> Array:
        """Computes the mean loss of a batch of `probe`; a recurrence may be called step by step."""
        found = self.loss(model, batch, (), rngs=None, step=jnp.zeros((), jnp.int32))
        return found.total / found.weight

    @abc.abstractmethod
    def describe(self, rows: Sequence[int]) -> str:
        """Names some training examples, so that a person finds them."""

    def summary(self) -> Iterator[str]:
        """Yields lines that say what is trained on."""
        yield from ()

    @abc.abstractmethod
    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes what scores parameters on a split; `final` as a finished run is scored, else as validation is.

        The scores have "loss", and every metric that `training.best_metric` may name.
        """

    def lower_is_better(self, metric: str) -> bool:
        """Whether a metric is an error."""
        return True

    def scored_by(self, metric: str) -> dict[str, Any]:
        """Returns what of the config the value of a metric on validation depends on, beside the parameters."""
        return {}

    def curves(self) -> dict[str, str]:
        """Returns the title of the curve of each metric that is worth a picture."""
        return {}

    def finish(self, params: ModelParams) -> None:
        """Writes pictures and prints samples of a finished run."""

    def predictor(self, params: ModelParams) -> Predictor:
        """Makes what answers lines; what a task adds to its arguments are options of its own.

        Raises:
          UserError: the task answers no lines, or an option has a value that is not allowed.
        """
        raise UserError(f"--mode=predict: the task {self.config.experiment} does not predict from lines of text")

    def encode_lines(self, params: ModelParams, lines: Sequence[str]) -> list[Any]:
        """Returns an encoder's outputs and states for each line.

        Raises:
          UserError: the task has no encoder.
        """
        raise UserError(f"{self.config.experiment} has no encoder")

    def attention(self, params: ModelParams, lines: Sequence[str]) -> list[Any]:
        """Returns where the model looks for the best output of each line, `[output, source]`.

        Raises:
          UserError: the model has no attention.
        """
        raise UserError(f"{self.config.experiment} has no attention")

    def breakdown(self) -> None:
        """Prints where the time of a training step goes.

        Raises:
          UserError: the task does not tell.
        """
        raise UserError(f"--mode=breakdown: the task {self.config.experiment} does not have this mode")

    def configured(self, config: ConfigDict) -> Self:
        """Returns the same task, its data and all, by another config of the same model."""
        other = copy.copy(self)
        other.__dict__["config"] = config
        return other

    @property
    def members(self) -> tuple["Task", ...]:
        """The tasks whose models answer together, this one first."""
        return (self,)

    def join_params(self, each: Sequence[ModelParams]) -> ModelParams:
        """Joins the parameters of the members."""
        (own,) = each
        return own
