"""The training step: loss, gradients, clipping, update, as one compiled function of plain pytrees."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.data.batch import Batch
from rnnlab.losses import cross_entropy
from rnnlab.training.guard import Guard
from rnnlab.training.optimizer import averaged

ModelParams = dict[str, Array]
M = TypeVar("M", bound=nnx.Module)


class TrainState(NamedTuple):
    """What a step changes: its number, the parameters by name, the optimizer's state, and what the guard knows."""

    step: Array
    params: ModelParams
    optimizer: optax.OptState
    guard: Guard

    @classmethod
    def start(cls, params: ModelParams, optimizer: optax.GradientTransformation) -> "TrainState":
        """Before the first step."""
        return cls(jnp.zeros((), jnp.int32), params, optimizer.init(params), Guard.start())

    @property
    def evaluated(self) -> ModelParams:
        """What is evaluated and kept: the parameters, or their average where the optimizer keeps one."""
        return averaged(self.optimizer) or self.params


class StepMetrics(NamedTuple):
    """Of one step: mean loss per label (smoothed), global norm of the gradient before clipping, whether it was clipped,
    labels, and how many steps in a row, this one included, did not count (0 where it counted)."""

    loss: Array
    gradient_norm: Array
    clipped: Array
    tokens: Array
    skipped: Array


def split_model(model: M) -> tuple[Callable[[ModelParams], M], ModelParams]:
    """A model's parameters by name ("encoder/embedding/embedding"), and the function that puts such into a model."""
    graph, state = nnx.split(model)
    paths, structure = jax.tree_util.tree_flatten_with_path(state)
    keys = [[str(getattr(key, "key", getattr(key, "name", key))) for key in path] for path, _ in paths]
    names = ["/".join(path).removesuffix("/value") for path in keys]

    def merge(params: ModelParams) -> M:
        return nnx.merge(graph, jax.tree.unflatten(structure, [params[name] for name in names]))

    return merge, dict(zip(names, (value for _, value in paths), strict=True))


def apply_gradients(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    gradients: ModelParams,
    *,
    constrain: Callable[[ModelParams], ModelParams] = lambda params: params,
) -> TrainState:
    """The state after one update, whose parameters `constrain` has the last word on, their average included."""
    update = optax.with_extra_args_support(optimizer).update
    updates, optimizer_state = update(gradients, state.optimizer, state.params, constrain=constrain)
    params = constrain(optax.apply_updates(state.params, updates))
    return state._replace(step=state.step + 1, params=params, optimizer=optimizer_state)


def make_train_step(
    merge: Callable[[ModelParams], nnx.Module],
    optimizer: optax.GradientTransformation,
    training: ConfigDict,
    seed: int,
    *,
    teacher_forcing: Callable[[Array], Array] | None = None,
    constrain: Callable[[ModelParams], ModelParams] = lambda params: params,
    shardings: TrainState | None = None,
) -> jax.stages.Wrapped:
    """The compiled step, `(TrainState, Batch) -> (TrainState, StepMetrics)`, whose parameters `constrain` has the last
    word on.

    A step that `Guard.judge` does not let count changes nothing but its own number and what the guard knows.
    `teacher_forcing` gives the share of a step; None leaves it to the model. Its random numbers follow from `seed` and
    the step's number alone; the state that it is given is donated. `shardings` says where the arrays of the state that
    it returns lie; None leaves it to jax.
    """

    def loss_of(params: ModelParams, batch: Batch, step: Array):
        # rbg draws masks several times faster than the default generator on CPU and TPU
        key = jax.random.fold_in(jax.random.key(seed, impl="rbg"), step)
        dropout, sampling = jax.random.split(key)
        rngs = nnx.Rngs(dropout=dropout, sampling=sampling)  # made inside: nnx counts its draws in place
        share = teacher_forcing(step) if teacher_forcing else None
        logits = merge(params)(batch.source, batch.source_lengths, batch.inputs, rngs=rngs, teacher_forcing=share)
        total = cross_entropy(logits, batch.labels, batch.target_lengths, smoothing=training.label_smoothing)
        return total / batch.target_lengths.sum()

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        loss, gradients = jax.value_and_grad(loss_of)(state.params, batch, state.step)
        norm = optax.global_norm(gradients)
        limit = training.clip_global_norm or jnp.inf
        counts, guard = state.guard.judge(loss, norm, spike=training.spike)
        metrics = StepMetrics(loss, norm, norm > limit, batch.target_lengths.sum(), guard.skipped)
        after = apply_gradients(optimizer, state, gradients, constrain=constrain)
        kept = jax.tree.map(lambda new, old: jnp.where(counts, new, old), after, state)
        return kept._replace(step=after.step, guard=guard), metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=None if shardings is None else (shardings, None))


def repeat_step(step: Callable, state: TrainState, argument: Any) -> Callable[[], Any]:
    """Calls of `step`, to be timed: each is given the state that the call before left, and may keep it for good."""
    held = jax.tree.map(jnp.copy, state)

    def call():
        nonlocal held
        held, results = step(held, argument)
        return held, results

    return call
