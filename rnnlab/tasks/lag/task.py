"""Learning over a known lag: an answer at each step of generated sequences."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, Fields, field, make_config
from rnnlab.data.lag_problems import LagBatch, LagProblem, find_problem
from rnnlab.errors import UserError
from rnnlab.losses import cross_entropy, squared_error
from rnnlab.models import ManyToMany
from rnnlab.own_code import own_digests
from rnnlab.tasks.base import Batches, Carry, Loss, ModelParams, Scores, Task
from rnnlab.tasks.fields import DTYPE, STACK, experiment_field, problem_field
from rnnlab.training.config import EVALUATION, TRAINING
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.placing import fetch, place_rows
from rnnlab.training.step import split_model

_PROBED = 8  # sequences for measuring gradients
FIELDS: Fields = {
    "experiment": experiment_field("lag"),
    "seed": field(0, "of parameters, sequences and dropout", NOT_NEGATIVE),
    "data": {
        "name": problem_field("adding"),
        "lag": field(50, "steps of a sequence; for copy_memory the delay", POSITIVE),
    },
    "model": {**STACK, "dtype": DTYPE},
    "training": {**TRAINING, "best_metric": field("loss", "validation metric: loss, or accuracy for classes")},
    "evaluation": {
        "sequences": field(256, "sequences to score a split; for images, which are all scored, per batch", POSITIVE),
        "average": EVALUATION["average"],
    },
}


def default_config() -> ConfigDict:
    """Makes the config of an LSTM that learns the adding problem."""
    return make_config(FIELDS)


class LagTask(Task):
    """A problem of `rnnlab.data.lag_problems`, answered at every step by a stack and an output layer."""

    fields: ClassVar = FIELDS
    fixed_in_use: ClassVar = ("model", "data")
    unit: ClassVar = "answers"
    splits = ("train", "validation", "test")

    @classmethod
    def check(cls, config: ConfigDict) -> None:
        """Refuses an invalid config.

        Raises:
          UserError: names the field, its value and what is allowed.
        """
        super().check(config)
        make_optimizer(config.training)
        problem = _find_problem(config)
        known = ("loss",) if problem.regression else ("loss", "accuracy")
        if config.training.best_metric not in known:
            raise UserError(
                f"config.training.best_metric: {config.training.best_metric!r} is not a metric of {config.data.name}; "
                f"allowed: {', '.join(known)}"
            )
        Intervention(config.training.intervention, nnx.eval_shape(lambda: _make_model(config, problem)))

    @functools.cached_property  # editing the user's file must not affect a run in progress
    def problem(self) -> LagProblem:
        """The problem to learn."""
        return _find_problem(self.config)

    def make_model(self) -> ManyToMany:
        """Makes the model with its initial parameters, drawn from the seed."""
        return _make_model(self.config, self.problem)

    def longest(self) -> int:
        """Returns the number of steps of a sequence."""
        return self.problem.time

    def batches(self, *, seed: int, process: int, processes: int) -> Batches:
        """Starts the training batches, each drawn from the seed and its number."""
        return _Drawn(self, seed, process, processes)

    def loss(self, model: ManyToMany, batch: LagBatch, carry: Carry, *, rngs: nnx.Rngs | None, step: Array) -> Loss:
        """Computes the cross-entropy of classes, or the squared error of numbers."""
        total = _loss(model(batch.inputs, rngs=rngs), batch, self.problem)
        return Loss(total, batch.weights.sum().astype(jnp.float32), carry)

    def draw(self, split: str, sequences: int) -> LagBatch:
        """Draws sequences of a split, the same ones for the same number."""
        return self.problem.draw(jax.random.key(0), sequences, split)

    def probe(self, split: str) -> LagBatch:
        """Returns a few sequences of a split."""
        return self.draw(split, _PROBED)

    def describe(self, rows: Sequence[int]) -> str:
        """States that sequences have no names."""
        return "that were drawn at random"

    def summary(self) -> Iterator[str]:
        """Yields the problem, and the loss of a model without memory."""
        name, problem = self.config.data.name, self.problem
        yield f"{name}, {problem.time} steps; loss of the best model without memory: {problem.floor:.4g}"

    def evaluator(self, *, final: bool) -> Callable[[ModelParams, str], Scores]:
        """Makes the scorer of a split: `loss`, for classes `accuracy` in percent, if `final` the loss's `floor`."""
        merge, _ = split_model(self.sketch)
        problem = self.problem
        scored = functools.cache(self._scored)

        @jax.jit
        def measure(params: ModelParams, batch: LagBatch) -> Array:
            outputs = merge(params)(batch.inputs)
            right = (outputs.argmax(-1) == batch.labels) * batch.weights
            return jnp.stack([_loss(outputs, batch, problem), right.sum(), batch.weights.sum()])

        def scores(params: ModelParams, split: str) -> Scores:
            sums = np.array(fetch([measure(params, place_rows(batch, params)) for batch in scored(split)]), np.float64)
            loss, right, number = sums.sum(0).tolist()
            found: Scores = {"loss": loss / number}
            found |= {} if problem.regression else {"accuracy": 100 * right / number}
            return found | {"floor": problem.floor} if final else found

        return scores

    def _scored(self, split: str) -> list[LagBatch]:
        """Yields the batches to score a split."""
        size = self.config.evaluation.sequences
        if self.problem.whole is None:
            return [self.draw(split, size)]
        whole = self.problem.whole(split)
        starts = range(0, whole.labels.shape[1], size)
        return [jax.tree.map(lambda v: v[:, start : start + size], whole) for start in starts]  # noqa: B023

    def lower_is_better(self, metric: str) -> bool:
        """Returns whether a metric is an error."""
        return metric != "accuracy"

    def scored_by(self, metric: str) -> dict[str, Any]:
        """Returns the number of scored sequences."""
        return {"sequences": self.config.evaluation.sequences}

    def curves(self) -> dict[str, str]:
        """Returns the title of the curve of the accuracy."""
        return {"accuracy": "accuracy (%)"}


class _Drawn:
    """Batches of a seed, drawn together for each call. `rows` is empty: no sequence is drawn twice."""

    rows: Sequence[int] = ()

    def __init__(self, task: LagTask, seed: int, process: int, processes: int):
        training = task.config.training
        self._problem, self._size, self._ahead = task.problem, training.batch_size, training.steps_per_call
        self._key, self._number = jax.random.key(seed), 0
        share = training.batch_size // processes
        self._share = slice(process * share, (process + 1) * share)
        self._ready: list[LagBatch] = []

    def __next__(self) -> LagBatch:
        if not self._ready:
            numbers = np.arange(self._number, self._number + self._ahead)
            drawn = _draw(self._problem.sample, self._problem.data, self._key, numbers, self._size)
            mine = jax.tree.map(lambda values: np.asarray(values)[:, :, self._share], drawn)
            self._ready = [jax.tree.map(lambda values: values[i], mine) for i in range(self._ahead)]  # noqa: B023
        batch, *self._ready = self._ready
        self._number += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        return {"number": self._number}

    def set_state(self, state: dict[str, Any]) -> None:
        self._number, self._ready = state["number"], []


@functools.partial(jax.jit, static_argnums=(0, 4))
def _draw(sample: Callable, data: Any, key: Array, numbers: Array, size: int) -> LagBatch:
    """Draws batches along a first axis, each of `size` sequences of the training split."""
    return jax.lax.map(lambda number: sample(data, jax.random.fold_in(key, number), size, "train"), numbers)


def _find_problem(config: ConfigDict) -> LagProblem:
    return _problem(config.data.name, config.data.lag, tuple(own_digests(FIELDS, config).values()))


@functools.lru_cache(maxsize=4)  # so that runs of one problem share compiled functions
def _problem(name: str, lag: int, own: tuple[str, ...]) -> LagProblem:
    """Finds the problem of a name; `own` are the digests of the user's code that it names."""
    try:
        make = find_problem(name)
    except ValueError as error:
        raise UserError(f"config.data.name: {error}") from None
    try:
        with jax.ensure_compile_time_eval():  # its data must be arrays, even if first used while tracing
            found = make(lag)
        if own:
            _check_problem(found)
    except UserError:
        raise
    except Exception as error:  # the user's own code may raise anything
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise UserError(f"config.data: {name} with a lag of {lag}: {kind}{error}") from None
    return found


def _check_problem(problem: Any) -> None:
    """Refuses the user's own problem if its batches do not match `LagBatch`.

    Raises:
      ValueError: names the difference.
    """
    if not isinstance(problem, LagProblem):
        raise ValueError(f"it makes a {type(problem).__name__}, not a LagProblem")
    size = 3
    batch = jax.eval_shape(lambda key: problem.sample(problem.data, key, size, "train"), jax.random.key(0))
    if not isinstance(batch, LagBatch):
        raise ValueError(f"its sample is a {type(batch).__name__}, not a LagBatch")
    ids = jnp.issubdtype(batch.inputs.dtype, jnp.integer)
    shape = (problem.time, size)
    numbers = jnp.floating if problem.regression else jnp.integer
    wanted = {
        "inputs": (shape if ids else (*shape, problem.in_features), jnp.integer if ids else jnp.floating),
        "labels": (shape, numbers),
        "weights": (shape, jnp.bool_),
    }
    for name, (of, kind) in wanted.items():
        found = getattr(batch, name)
        if found.shape != of or not jnp.issubdtype(found.dtype, kind):
            raise ValueError(
                f"its {name} of {size} sequences are {found.dtype}{list(found.shape)}, not {kind.__name__}{list(of)}"
            )


def _make_model(config: ConfigDict, problem: LagProblem) -> ManyToMany:
    sizes, options = (problem.in_features, problem.out_features), config.model.to_dict()
    try:
        return ManyToMany(*sizes, rngs=nnx.Rngs(config.seed), **options)
    except ValueError as error:
        raise UserError(f"config.model: {error}") from None


def _loss(outputs: Array, batch: LagBatch, problem: LagProblem) -> Array:
    """Returns the weighted sum over the answers."""
    if problem.regression:
        return squared_error(outputs[..., 0], batch.labels, batch.weights)
    return cross_entropy(outputs, batch.labels, batch.weights)
