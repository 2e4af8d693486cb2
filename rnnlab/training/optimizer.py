"""Optimizers and learning-rate schedules by name, behind clipping by the global norm."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from ml_collections import ConfigDict

from rnnlab.errors import UserError

_WARMUP_SHARE = 0.1
_WARMED_UP = ("warmup_cosine", "inverse_sqrt")


def _inverse_sqrt(peak: float, steps: int, warmup: int) -> optax.Schedule:
    """Returns a schedule: linear up to `peak`, then decaying as 1 / sqrt(step) (Vaswani et al. 2017, 1706.03762)."""

    def after(step):  # optax also calls it before the warm-up ends, with steps below 0
        return peak * (warmup / (jnp.maximum(step, 0) + warmup)) ** 0.5

    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


Constraint = Callable[[optax.Params], optax.Params]
SCHEDULES = {
    "constant": lambda peak, steps, warmup: optax.constant_schedule(peak),
    "linear": lambda peak, steps, warmup: optax.linear_schedule(peak, 0.0, steps),
    "one_cycle": lambda peak, steps, warmup: optax.cosine_onecycle_schedule(steps, peak),  # Smith 2018, 1708.07120
    "warmup_cosine": lambda peak, steps, warmup: optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps),
    "inverse_sqrt": _inverse_sqrt,
}
_DECAYING = ("adamw", "lion", "nt_asgd")
OPTIMIZERS = {
    "adam": lambda rate, decay: optax.adam(rate),
    "adamw": lambda rate, decay: optax.adamw(rate, weight_decay=decay),
    "adagrad": lambda rate, decay: optax.adagrad(rate),
    "lion": lambda rate, decay: optax.lion(rate, weight_decay=decay),
    "momentum": lambda rate, decay: optax.sgd(rate, momentum=0.9),
    "nadam": lambda rate, decay: optax.nadam(rate),
    "nt_asgd": lambda rate, decay: optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate)),
    "rmsprop": lambda rate, decay: optax.rmsprop(rate),
    "sgd": lambda rate, decay: optax.sgd(rate),
}


def make_schedule(training: ConfigDict) -> optax.Schedule:
    """Returns the learning-rate schedule.

    Raises:
      UserError: an unknown schedule, one that ends before the run, or a warm-up that it does not support or that
        leaves no steps.
    """
    name, steps, warmup = training.schedule, training.schedule_steps or training.steps, training.warmup_steps
    if steps < training.steps:
        raise UserError(
            f"config.training.schedule_steps: {steps} must be at least config.training.steps={training.steps}"
        )
    if name not in SCHEDULES:
        raise UserError(f"config.training.schedule: unknown {name!r}; allowed: {', '.join(SCHEDULES)}")
    if warmup and name not in _WARMED_UP:
        raise UserError(
            f"config.training.warmup_steps: the schedule {name!r} ignores it; allowed with: {', '.join(_WARMED_UP)}"
        )
    if name == "warmup_cosine" and warmup >= steps:
        length = "schedule_steps" if training.schedule_steps else "steps"
        raise UserError(
            f"config.training.warmup_steps: {warmup} must be below config.training.{length}={steps} for {name!r}"
        )
    if steps == 1 and not warmup:  # the only step would have a rate of 0
        return optax.constant_schedule(training.learning_rate)
    return SCHEDULES[name](training.learning_rate, steps, warmup or max(1, int(_WARMUP_SHARE * steps)))


def last_rate(schedule: optax.Schedule, state: optax.OptState) -> float:
    """Returns the learning rate of the last update of an optimizer's state; skipped steps have none."""
    (count,) = (part.count for part in _parts(state, optax.ScaleByScheduleState))
    return float(schedule(int(count) - 1))


class Average(NamedTuple):
    """The moving average of parameters: the weighted sum so far, and its weight."""

    summed: optax.Params
    weight: Array


def average_parameters(decay: float) -> optax.GradientTransformationExtraArgs:
    """Changes no update; its state is the exponential moving average of the parameters after each step, projected by
    the argument `constrain` of its update.

    The average after n steps weighs those of step i with decay^(n - i), its weights made to sum to 1 (Kingma and Ba
    2015, arXiv 1412.6980, section 7.2).
    """

    def init(params: optax.Params) -> Average:
        return Average(jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))

    def update(updates, state: Average, params=None, *, constrain: Constraint = lambda params: params, **_others):
        after = constrain(optax.apply_updates(params, updates))
        summed = optax.incremental_update(after, state.summed, 1 - decay)
        return updates, Average(summed, decay * state.weight + (1 - decay))

    return optax.GradientTransformationExtraArgs(init, update)


class NonMonotone(NamedTuple):
    """The trigger of `average_when_stuck`: the last validation losses, `[n]`, the newest last; the minimum of those
    before; the number of averaged steps; and whether averaging has begun."""

    recent: Array | np.ndarray
    best_before: Array | np.ndarray
    steps: Array | np.ndarray
    begun: Array | np.ndarray


def average_when_stuck(evaluations: int) -> optax.GradientTransformationExtraArgs:
    """Changes no update; its state is the mean of the parameters after each step since validation got stuck: since a
    loss was above the minimum of all but the last `evaluations` before it (NT-ASGD: Merity et al. 2018, arXiv
    1708.02182, algorithm 1). `observe_validation` passes the losses."""

    def init(params: optax.Params) -> tuple[NonMonotone, Average]:
        never = jnp.asarray(jnp.inf)
        trigger = NonMonotone(jnp.full(evaluations, jnp.inf), never, jnp.zeros(()), jnp.zeros((), bool))
        return trigger, Average(jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))

    def update(updates, state, params=None, *, constrain: Constraint = lambda params: params, **_others):
        trigger, average = state
        after, steps = constrain(optax.apply_updates(params, updates)), trigger.steps + trigger.begun
        share = trigger.begun / jnp.maximum(steps, 1)
        mean = jax.tree.map(lambda mean, value: mean + (value - mean) * share, average.summed, after)
        return updates, (trigger._replace(steps=steps), Average(mean, trigger.begun.astype(jnp.float32)))

    return optax.GradientTransformationExtraArgs(init, update)


def observe_validation(state: optax.OptState, loss: float) -> optax.OptState:
    """Returns an optimizer's state updated with the loss of an evaluation; the same object if it does not use it."""
    if not _parts(state, NonMonotone):
        return state
    seen = np.float32(loss if math.isfinite(loss) else math.inf)

    def observe(part):
        if not isinstance(part, NonMonotone):
            return part
        begun = np.asarray(part.begun | (seen > part.best_before))
        before = np.minimum(part.best_before, part.recent[0])
        recent = np.append(part.recent[1:], seen)
        return part._replace(recent=recent, best_before=before, begun=begun)

    return jax.tree.map(observe, state, is_leaf=lambda part: isinstance(part, NonMonotone))


def _clip_by_global_norm(limit: float) -> optax.GradientTransformationExtraArgs:
    """Clips like optax, but its update accepts a `norm`, computed together with the gradients, so that its last bit
    does not depend on their transfer."""

    def update(updates, state: optax.EmptyState, params=None, *, norm: Array | None = None, **_others):
        found = optax.global_norm(updates) if norm is None else norm
        return jax.tree.map(lambda v: jnp.where(found < limit, v, v / found.astype(v.dtype) * limit), updates), state

    return optax.GradientTransformationExtraArgs(lambda _params: optax.EmptyState(), update)


def averaged(state: optax.OptState) -> optax.Params | None:
    """Returns the average within an optimizer's state, None if there is none or no step has been applied since."""
    found = [part for part in _parts(state, Average) if part.weight]
    return jax.tree.map(lambda summed: summed / found[0].weight, found[0].summed) if found else None


def _parts(state: optax.OptState, kind: type) -> list:
    """Returns the parts of an optimizer's state of a kind."""
    return [
        part for part in jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, kind)) if isinstance(part, kind)
    ]


def make_optimizer(training: ConfigDict) -> optax.GradientTransformation:
    """Makes clipping, then the optimizer, then the average of the parameters for `average_decay` or "nt_asgd".

    The gradient is scaled to a global norm of at most `clip_global_norm` (Pascanu, Mikolov and Bengio 2013, arXiv
    1211.5063), or each of its entries is clipped at +-`clip_value` (Mikolov 2012), or, if both are 0, not changed.

    Raises:
      UserError: an unknown optimizer or schedule, weight decay for an optimizer without it, two averages, or both
        clippings.
    """
    if training.clip_global_norm and training.clip_value:
        raise UserError(
            f"config.training.clip_value: {training.clip_value} and clip_global_norm {training.clip_global_norm}; "
            "set one of them to 0"
        )
    if training.optimizer not in OPTIMIZERS:
        raise UserError(f"config.training.optimizer: unknown {training.optimizer!r}; allowed: {', '.join(OPTIMIZERS)}")
    if training.weight_decay and training.optimizer not in _DECAYING:
        allowed = ", ".join(_DECAYING)
        raise UserError(f"config.training.weight_decay: {training.optimizer!r} ignores it; allowed with: {allowed}")
    if training.average_decay and training.optimizer == "nt_asgd":
        raise UserError(
            f"config.training.average_decay: {training.average_decay} with 'nt_asgd', which has its own average"
        )
    update = OPTIMIZERS[training.optimizer](make_schedule(training), training.weight_decay)
    clipping = optax.identity()
    if training.clip_global_norm:
        clipping = _clip_by_global_norm(training.clip_global_norm)
    elif training.clip_value:
        clipping = optax.clip(training.clip_value)
    average = [average_parameters(training.average_decay)] if training.average_decay else []
    if training.optimizer == "nt_asgd":
        average = [average_when_stuck(training.nonmonotone)]
    return optax.chain(clipping, update, *average)
