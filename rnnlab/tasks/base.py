"""The trainer's interface to a task, which defines data, model, loss and scores.

Imports only `config`, `errors`, `exports` and `shown`.
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
from rnnlab.tasks.exports import Exports
from rnnlab.tasks.shown import Shown

Carry = Any  # a pytree of `[batch, ...]`: recurrent states carried from step to step; () for most tasks
ModelParams = dict[str, Array]  # the parameters of a model by their path
Scores = dict[str, float | str]


class Loss(NamedTuple):
    """The loss of a batch.

    Attributes:
      total: the weighted sum of losses.
      weight: the divisor of the sum for the mean, such as the number of labels.
      carry: the initial state of the next batch.
      figures: further numbers of the step; their means are logged.
    """

    total: Array
    weight: Array
    carry: Carry = ()
    figures: Mapping[str, Array] = {}


class Batches(Protocol):
    """An endless iterator over batches, with a position that can be saved."""

    rows: Sequence[int]  # the training examples of the last batch, of all processes

    def __next__(self) -> Any:
        """Returns this process's part of a batch: a pytree of arrays `[batch]` or `[time, batch, ...]`."""

    def get_state(self) -> dict[str, Any]:
        """Returns the position, in a form that JSON can represent."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a position."""


class Predictor(abc.ABC):
    """Predicts outputs for lines, and collects remarks on them.

    Attributes:
      takes_whole: the input is one file, passed as the only line; the answer has any number of lines.
    """

    takes_whole: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, lines: Sequence[bytes], first: int) -> list[str]:
        """Returns an answer for each line, in order; `first`, the number of the first line, counts from 0."""

    def resume(self, lines: Sequence[bytes], first: int, contexts: Sequence[Any]) -> tuple[list[str], list[Any]]:
        """Answers lines that each continue a text of their own.

        Args:
          lines, first: as in a call.
          contexts: for each line, what an earlier call returned for its text; None at the start of a text.

        Returns:
          the answers, and the contexts after them.

        Raises:
          UserError: the predictor keeps no state between lines.
        """
        raise UserError("stream: this task keeps no state between lines; omit it")

    def warm_up(self) -> Iterator[None]:
        """Compiles the programs that any number of lines may need, one before each value that it yields."""
        yield from ()

    def remarks(self) -> Iterator[str]:
        """Yields what to log once all lines are answered; remarks on a file are yielded once."""
        yield from ()


class Task(abc.ABC):
    """The task of a run: its data, model, loss and scores.

    Attributes:
      config, workdir: of the run.
      fields: the config's fields, each with its meaning and range.
      fixed: fields of the config that cannot change during training; `fixed_in_use`: after it; `places`: those among
        them that only give the location of the same data.
      unit: the unit of `Loss.weight`, in the plural.
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
        """Returns the class for a config: this one, or one that it delegates to."""
        return cls

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses an invalid config, before anything is read or written.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        check_fields(config, cls.fields)

    @classmethod
    def resolve_paths(cls, config: ConfigDict) -> None:
        """Makes the paths of a config absolute, in place: they are then the same from any folder."""

    @classmethod
    def has_data_of(cls, config: ConfigDict, workdir: pathlib.Path) -> bool:
        """Returns whether the current data of a config are those of a work directory."""
        return True

    @classmethod
    def create(cls, config: ConfigDict, workdir: pathlib.Path) -> Self:
        """Makes the task from its data (vocabularies, sizes, scalers); writes nothing."""
        return cls(config, workdir)

    @classmethod
    def load(cls, config: ConfigDict, saved: ConfigDict, workdir: pathlib.Path) -> Self:
        """Reads the files of `save`; does not need the data.

        Args:
          config: the config to use.
          saved: that of the work directory; data from another location may have other contents.

        Raises:
          UserError: a file is missing or damaged.
        """
        return cls(config, workdir)

    def save(self) -> None:
        """Writes the files of `load` to the work directory."""

    def open_data(self) -> None:
        """Checks, before training, that the data are available and have not changed since the start of the run.

        Raises:
          UserError: they are not.
        """

    def log_data(self) -> None:
        """Logs remarks on the data before training starts."""

    @property
    @abc.abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The available splits among train, validation and test."""

    @property
    def final_split(self) -> str:
        """The split of the final scores: test, or validation if there is no test split."""
        return "test" if "test" in self.splits else "validation"

    def check_split(self, split: str) -> None:
        """Refuses a split that is not available.

        Raises:
          UserError: names it and the available ones.
        """
        if split not in self.splits:
            raise UserError(f"split {split!r}: not available; allowed: {', '.join(self.splits)}")

    @abc.abstractmethod
    def make_model(self) -> nnx.Module:
        """Makes the model with its initial parameters, drawn from the seed."""

    @functools.cached_property
    def sketch(self) -> Any:
        """Returns the model with shapes of parameters instead of values, which takes a tenth of the time."""
        return nnx.eval_shape(self.make_model)

    @property
    def meanings(self) -> Mapping[str, Any]:
        """Returns the meanings of parameter rows, such as vocabularies, by name, to compare them with another run's."""
        return {}

    def start_params(self, params: ModelParams) -> ModelParams:
        """Returns initial parameters with those from the data, such as pretrained embeddings."""
        return params

    @abc.abstractmethod
    def longest(self) -> int:
        """Returns the number of steps of the longest training sequence."""

    @abc.abstractmethod
    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Starts the training batches in an order drawn from a seed.

        Each `training.steps_per_call` consecutive batches, counted from the first, have the same shapes.
        """

    def start_carry(self, model: nnx.Module, rows: int) -> Carry:
        """Makes the initial carry for a number of sequences."""
        return ()

    @abc.abstractmethod
    def loss(self, model: Any, batch: Any, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the loss of a batch; rngs (`dropout`, `sampling`) are for training only."""

    @abc.abstractmethod
    def probe(self, split: str) -> Any:
        """Returns a few sequences of equal lengths, without padding, as a batch, to measure the gradient flow."""

    def watched_loss(self, model: Any, batch: Any) -> Array:
        """Computes the mean loss of a batch of `probe`; a recurrence may be called step by step."""
        found = self.loss(model, batch, (), rngs=None, step=jnp.zeros((), jnp.int32))
        return found.total / found.weight

    @abc.abstractmethod
    def describe(self, rows: Sequence[int]) -> str:
        """Names some training examples, so that the user can find them."""

    def summary(self) -> Iterator[str]:
        """Yields lines that describe the data and the model."""
        yield from ()

    @abc.abstractmethod
    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes the function that scores parameters on a split; `final` as for a finished run, else as for validation.

        The scores include "loss", and every metric that `training.best_metric` may name. With several devices the
        parameters lie whole on each of them; `rnnlab.training.placing` makes the devices share the rows of a batch.
        During training all processes call it together.
        """

    def lower_is_better(self, metric: str) -> bool:
        """Returns whether a metric is an error."""
        return True

    def scored_by(self, metric: str) -> dict[str, Any]:
        """Returns the parts of the config that affect a validation metric, in addition to the parameters."""
        return {}

    def curves(self) -> dict[str, str]:
        """Returns the titles of the curves of the metrics to plot."""
        return {}

    def finish(self, params: ModelParams) -> Shown | None:
        """Draws pictures and predicts samples of a finished run, which are then printed and put in its report."""
        return None

    def predictor(self, params: ModelParams) -> Predictor:
        """Makes the predictor of lines; further arguments of a task are its options.

        Raises:
          UserError: the task does not predict from lines, or a value of an option is not allowed.
        """
        raise UserError(f"--mode=predict: the task {self.config.experiment} does not predict from lines of text")

    def encode_lines(self, params: ModelParams, lines: Sequence[str]) -> list[Any]:
        """Returns an encoder's outputs and states for each line.

        Raises:
          UserError: the task has no encoder.
        """
        raise UserError(f"{self.config.experiment} has no encoder")

    def attention(self, params: ModelParams, lines: Sequence[str]) -> list[Any]:
        """Returns the attention weights for the best output of each line, `[output, source]`.

        Raises:
          UserError: the model has no attention.
        """
        raise UserError(f"{self.config.experiment} has no attention")

    def breakdown(self) -> None:
        """Prints the breakdown of the time of a training step.

        Raises:
          UserError: the task does not support it.
        """
        raise UserError(f"--mode=breakdown: the task {self.config.experiment} does not have this mode")

    def exports(self) -> Exports:
        """Returns the programs to export, and what their runner needs.

        Raises:
          UserError: the task cannot be exported.
        """
        raise UserError(f"--mode=export: the task {self.config.experiment} cannot be exported")

    def configured(self, config: ConfigDict) -> Self:
        """Returns the same task and data with another config of the same model."""
        other = copy.copy(self)
        other.__dict__["config"] = config
        return other

    @property
    def members(self) -> tuple["Task", ...]:
        """The tasks of an ensemble, this one first."""
        return (self,)

    def join_params(self, each: Sequence[ModelParams]) -> ModelParams:
        """Joins the parameters of the members."""
        (own,) = each
        return own
