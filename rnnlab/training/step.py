"""The training step: loss, gradients, clipping, update, as one compiled function of plain pytrees."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.tasks.base import Carry, Loss, ModelParams
from rnnlab.training.guard import Guard
from rnnlab.training.optimizer import averaged

M = TypeVar("M", bound=nnx.Module)
LossOf = Callable[..., Loss]  # (model, batch, carry, *, rngs, step), as `Task.loss`


class TrainState(NamedTuple):
    """What a step changes: its number, the parameters by name, the optimizer's state, what the guard knows, and what
    the task carries from one batch to the next."""

    step: Array
    params: ModelParams
    optimizer: optax.OptState
    guard: Guard
    carry: Carry = ()

    @classmethod
    def start(cls, params: ModelParams, optimizer: optax.GradientTransformation, carry: Carry = ()) -> "TrainState":
        """Before the first step."""
        return cls(jnp.zeros((), jnp.int32), params, optimizer.init(params), Guard.start(), carry)

    @property
    def evaluated(self) -> ModelParams:
        """What is evaluated and kept: the parameters, or their average where the optimizer keeps one."""
        return averaged(self.optimizer) or self.params


class StepMetrics(NamedTuple):
    """Of one step: mean loss, global norm of the gradient before clipping, whether it was clipped, by what the loss was
    divided, how many steps in a row, this one included, did not count (0 where it counted), and the task's figures."""

    loss: Array
    gradient_norm: Array
    clipped: Array
    weight: Array
    skipped: Array
    figures: dict[str, Array]


def split_model(model: M) -> tuple[Callable[[ModelParams], M], ModelParams]:
    """Splits a model, or its sketch, into its parameters by path, running statistics of batch norms among them, and the
    function that makes a model of such."""
    graph, state = nnx.split(model)
    params, structure = _by_path(state), jax.tree.structure(state)
    names = list(params)

    def merge(params: ModelParams) -> M:
        return nnx.merge(graph, jax.tree.unflatten(structure, [params[name] for name in names]))

    return merge, params


def _by_path(state: nnx.State) -> ModelParams:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    keys = [[str(getattr(key, "key", getattr(key, "name", key))) for key in path] for path, _ in paths]
    names = ["/".join(path).removesuffix("/value") for path in keys]
    return dict(zip(names, (value for _, value in paths), strict=True))


def running_statistics(model: nnx.Module) -> ModelParams:
    """Returns the running statistics of a model's batch norms, by the names that they have among its parameters."""
    return _by_path(nnx.state(model, nnx.BatchStat))


def apply_gradients(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    gradients: ModelParams,
    *,
    norm: Array | None = None,
    constrain: Callable[[ModelParams], ModelParams] = lambda params: params,
) -> TrainState:
    """The state after one update, whose parameters `constrain` has the last word on, their average included; `norm` is
    the global norm of the gradients where it is known."""
    update = optax.with_extra_args_support(optimizer).update
    updates, optimizer_state = update(gradients, state.optimizer, state.params, norm=norm, constrain=constrain)
    params = constrain(optax.apply_updates(state.params, updates))
    return state._replace(step=state.step + 1, params=params, optimizer=optimizer_state)


def make_train_step(
    loss: LossOf,
    merge: Callable[[ModelParams], nnx.Module],
    optimizer: optax.GradientTransformation,
    training: ConfigDict,
    *,
    constrain: Callable[[ModelParams], ModelParams] = lambda params: params,
    penalty: Callable[[ModelParams], Array] | None = None,
    frozen: frozenset[str] = frozenset(),
    shardings: TrainState | None = None,
) -> Callable[[TrainState, Any, Array], tuple[TrainState, StepMetrics]]:
    """Compiles `training.steps_per_call` steps, `(TrainState, batches, seed) -> (TrainState, StepMetrics)`.

    A single step is two programs: the gradients are compiled for each shape of a batch, the update only once, which
    saves 40 % of the time that compiling takes. Several steps are one program.

    A step that `Guard.judge` does not let count changes nothing but its own number, what the guard knows, and the
    carry, which follows the data and is 0 where it is not finite. Its random numbers (dropout, sampling) follow
    from the seed `[]` and the step's number alone; the state that is given is donated. Of several steps in a call,
    batches and metrics have a leading axis of that size.

    The running statistics of batch norms (`nnx.BatchStat`) are among the parameters, but become what the loss leaves in
    its model instead of what the optimizer makes of them; an average of the parameters averages them, too.

    Args:
      loss: the task's.
      merge: makes the model of its parameters, as `split_model` gives it.
      optimizer, training: of the parameters, and the config that it was made by.
      constrain: has the last word on the parameters but for those that are frozen.
      penalty: whose gradient is added to that of the loss; it is no part of the loss that is told.
      frozen: names of parameters that do not change; their gradients count as 0.
      shardings: where the arrays of the state that it returns lie; None leaves it to jax.
    """

    def loss_of(
        params: ModelParams, batch: Any, state: TrainState, seed: Array
    ) -> tuple[Array, tuple[Array, Loss, ModelParams]]:
        model = merge(params)
        found = loss(model, batch, state.carry, rngs=_rngs(seed, state.step), step=state.step)
        mean = found.total / found.weight
        return mean if penalty is None else mean + penalty(params), (mean, found, running_statistics(model))

    def find_gradients(
        state: TrainState, batch: Any, seed: Array
    ) -> tuple[ModelParams, Array, Array, Loss, ModelParams]:
        (_, aux), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params, batch, state, seed)
        mean, found, statistics = aux
        gradients |= {name: jnp.zeros_like(gradients[name]) for name in (*frozen, *statistics)}
        return gradients, optax.global_norm(gradients), mean, found, statistics

    def update(
        state: TrainState, gradients: ModelParams, norm: Array, mean: Array, found: Loss, statistics: ModelParams
    ) -> tuple[TrainState, StepMetrics]:
        held = statistics | {name: state.params[name] for name in frozen}

        def constrain_others(params: ModelParams) -> ModelParams:
            return constrain(params) | held

        limit = training.clip_global_norm or jnp.inf
        counts, guard = state.guard.judge(mean, norm, spike=training.spike)
        metrics = StepMetrics(mean, norm, norm > limit, found.weight, guard.skipped, dict(found.figures))
        after = apply_gradients(optimizer, state, gradients, norm=norm, constrain=constrain_others)
        after = after._replace(carry=found.carry)
        kept = jax.tree.map(lambda new, old: jnp.where(counts, new, old), after, state)
        read = jax.tree.map(lambda new: jnp.where(jnp.isfinite(new), new, 0), found.carry)  # the data go on anyway
        return kept._replace(step=after.step, guard=guard, carry=read), metrics

    return _compile(find_gradients, update, single=training.steps_per_call == 1, shardings=shardings)


def _rngs(seed: Array, step: Array) -> nnx.Rngs:
    """The random numbers of a step; to be made inside the loss, for nnx counts its draws in place."""
    # rbg draws masks several times faster than the default generator on CPU and TPU
    key = jax.random.fold_in(jax.random.key(seed, impl="rbg"), step)
    dropout, sampling = jax.random.split(key)
    return nnx.Rngs(dropout=dropout, sampling=sampling)


def _compile(find_gradients: Callable, update: Callable, *, single: bool, shardings: TrainState | None) -> Callable:
    """What `make_train_step` returns, of the two halves of a step."""
    left = None if shardings is None else (shardings, None)
    if single:
        found = None if shardings is None else (shardings.params, None, None, None, None)
        find = jax.jit(find_gradients, out_shardings=found)
        take = jax.jit(update, donate_argnums=0, out_shardings=left)
        return lambda state, batch, seed: take(state, *find(state, batch, seed))

    def steps(state: TrainState, batches: Any, seed: Array) -> tuple[TrainState, StepMetrics]:
        return jax.lax.scan(lambda s, batch: update(s, *find_gradients(s, batch, seed)), state, batches)

    return jax.jit(steps, donate_argnums=0, out_shardings=left)


def repeat_step(step: Callable, state: TrainState, *arguments: Any) -> Callable[[], Any]:
    """Calls of `step`, to be timed: each is given the state that the call before left, and may keep it for good."""
    held = jax.tree.map(jnp.copy, state)

    def call():
        nonlocal held
        held, results = step(held, *arguments)
        return held, results

    return call
