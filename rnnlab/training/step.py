"""The training step: loss, gradients, clipping, update, as one compiled function of plain pytrees."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.scans import program_for
from rnnlab.tasks.base import Carry, Loss, ModelParams
from rnnlab.training.accumulation import accumulate_gradients
from rnnlab.training.guard import Guard
from rnnlab.training.optimizer import averaged

M = TypeVar("M", bound=nnx.Module)
LossOf = Callable[..., Loss]  # (model, batch, carry, *, rngs, step), as `Task.loss`


class TrainState(NamedTuple):
    """The state of training: the step number, the parameters by name, the optimizer's state, the guard's state, and the
    task's carry from batch to batch."""

    step: Array
    params: ModelParams
    optimizer: optax.OptState
    guard: Guard
    carry: Carry = ()

    @classmethod
    def start(cls, params: ModelParams, optimizer: optax.GradientTransformation, carry: Carry = ()) -> "TrainState":
        """Returns the state before the first step."""
        return cls(jnp.zeros((), jnp.int32), params, optimizer.init(params), Guard.start(), carry)

    @property
    def evaluated(self) -> ModelParams:
        """The parameters to evaluate and save: their average, if the optimizer keeps one."""
        return averaged(self.optimizer) or self.params


class StepMetrics(NamedTuple):
    """Metrics of one step: mean loss, global norm of the gradient before clipping, whether it was clipped, the divisor
    of the loss, the number of skipped steps in a row up to this one (0 if it was applied), and the task's figures."""

    loss: Array
    gradient_norm: Array
    clipped: Array
    weight: Array
    skipped: Array
    figures: dict[str, Array]


def split_model(model: M) -> tuple[Callable[[ModelParams], M], ModelParams]:
    """Splits a model, or its abstract form, into its parameters by path, including running statistics of batch norms,
    and the function that makes a model from them."""
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
    """Returns the running statistics of a model's batch norms, by their names among its parameters."""
    return _by_path(nnx.state(model, nnx.BatchStat))


def apply_gradients(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    gradients: ModelParams,
    *,
    norm: Array | None = None,
    constrain: Callable[[ModelParams], ModelParams] = lambda params: params,
) -> TrainState:
    """Returns the state after one update, with parameters and average projected by `constrain`; `norm` is the global
    norm of the gradients if it is known."""
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
    saves 40 % of the compile time. Several steps are one program.

    A step that `Guard.judge` skips changes only the step number, the guard's state, and the carry, which follows the
    data and is 0 where it is not finite. Its random numbers (dropout, sampling) depend only on the seed `[]` and the
    step number; the given state is donated. For several steps in a call, batches and metrics have a leading axis of
    that size.

    With `training.accumulate` the gradient of a step is the sum over so many micro-batches (`accumulate_gradients`);
    each draws its own random numbers, which are not those of the whole batch. Guard, clipping and update see the sum.

    The running statistics of batch norms (`nnx.BatchStat`) are among the parameters, but are set by the loss in its
    model instead of updated by the optimizer; an average of the parameters includes them.

    Args:
      loss: the task's.
      merge: makes the model from its parameters, from `split_model`.
      optimizer, training: of the parameters, and the config that it was made from.
      constrain: projects the parameters that are not frozen after each update.
      penalty: its gradient is added to that of the loss; it is excluded from the logged loss.
      frozen: names of parameters that do not change; their gradients count as 0.
      shardings: of the arrays of the returned state; None leaves them to jax.
    """

    def rngs_of(state: TrainState, seed: Array, part: Array | None = None) -> nnx.Rngs:
        return _rngs(seed, state.step, training.generator, part)

    def loss_of(params: ModelParams, batch: Any, carry: Carry, step: Array, rngs: nnx.Rngs) -> tuple[Loss, ModelParams]:
        model = merge(params)
        return loss(model, batch, carry, rngs=rngs, step=step), running_statistics(model)

    def at_once(state: TrainState, batch: Any, seed: Array) -> tuple[ModelParams, Loss, ModelParams]:
        def mean_of(params: ModelParams) -> tuple[Array, tuple[Loss, ModelParams]]:
            found, statistics = loss_of(params, batch, state.carry, state.step, rngs_of(state, seed))
            mean = found.total / found.weight
            return mean if penalty is None else mean + penalty(params), (found, statistics)

        gradients, others = jax.grad(mean_of, has_aux=True)(state.params)
        return gradients, *others

    def in_parts(state: TrainState, batch: Any, seed: Array) -> tuple[ModelParams, Loss, ModelParams]:
        def total_of(params: ModelParams, rows: Any, carry: Carry, part: Array) -> tuple[Array, tuple]:
            found, statistics = loss_of(params, rows, carry, state.step, rngs_of(state, seed, part))
            return found.total, (found, statistics)

        before = running_statistics(merge(state.params))
        gradients, found, statistics = accumulate_gradients(
            total_of, training.accumulate, state.params, before, batch, state.carry
        )
        if penalty is not None:
            gradients = jax.tree.map(jnp.add, gradients, jax.grad(penalty)(state.params))
        return gradients, found, statistics

    def find_gradients(
        state: TrainState, batch: Any, seed: Array
    ) -> tuple[ModelParams, Array, Array, Loss, ModelParams]:
        found_by = at_once if training.accumulate == 1 else in_parts
        with jax.default_matmul_precision(training.matmul_precision), _for_machine_of(shardings):
            gradients, found, statistics = found_by(state, batch, seed)
        gradients |= {name: jnp.zeros_like(gradients[name]) for name in (*frozen, *statistics)}
        return gradients, optax.global_norm(gradients), found.total / found.weight, found, statistics

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
        read = jax.tree.map(lambda new: jnp.where(jnp.isfinite(new), new, 0), found.carry)  # the data advance anyway
        return kept._replace(step=after.step, guard=guard, carry=read), metrics

    return _compile(find_gradients, update, single=training.steps_per_call == 1, shardings=shardings)


def _for_machine_of(shardings: TrainState | None) -> contextlib.AbstractContextManager[None]:
    """Makes the programs in its body for the devices of the state, which need not be jax's default."""
    if shardings is None:
        return contextlib.nullcontext()
    mesh = jax.tree.leaves(shardings)[0].mesh
    return program_for(mesh.devices.flat[0].platform, devices=mesh.size)


def _rngs(seed: Array, step: Array, generator: str, part: Array | None = None) -> nnx.Rngs:
    """Makes the random numbers of a step, or of one of its micro-batches; call it inside the loss, since nnx counts its
    draws in place."""
    key = jax.random.fold_in(jax.random.key(seed, impl=generator), step)
    key = key if part is None else jax.random.fold_in(key, part)
    dropout, sampling = jax.random.split(key)
    return nnx.Rngs(dropout=dropout, sampling=sampling)


def _compile(find_gradients: Callable, update: Callable, *, single: bool, shardings: TrainState | None) -> Callable:
    """Makes the result of `make_train_step` from the two halves of a step."""
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
    """Calls `step` repeatedly, for timing: each call gets, and may donate, the state of the call before."""
    held = jax.tree.map(jnp.copy, state)

    def call():
        nonlocal held
        held, results = step(held, *arguments)
        return held, results

    return call
