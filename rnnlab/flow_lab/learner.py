"""One small network on one task with a known lag: trained, scored and measured on the way."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from rnnlab.cells import Params, find_cell
from rnnlab.data.lag_tasks import LagBatch
from rnnlab.flow_lab.config import read_task
from rnnlab.gradient_flow import Treatment, lag_norms, step_gradients
from rnnlab.gradient_flow.interventions import flossing_penalty
from rnnlab.models import ManyToMany
from rnnlab.tasks.base import ModelParams
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.step import TrainState, apply_gradients, split_model

CHUNK = 50  # steps that are one compiled loop; the test split is scored after each
_TEST, _PROBE, _TRACED = 256, 8, 2  # sequences that are scored, whose gradients are taken, whose Jacobians are
_LAYER = "stack/layers/0/0/params/"
_FLOSSED, _FLOSSING_RATE = 16, 1e-3  # exponents that are brought to 0, and by which rate of Adam

Figures = list[tuple[int, str, float]]


@dataclasses.dataclass(frozen=True)
class Setting:
    """Everything about a run but its seed."""

    cell: str
    intervention: str
    clipping: str
    task: str
    lag: int
    features: int
    batch_size: int
    optimizer: str
    learning_rate: float
    steps: int
    solved: float
    measure_every: int


class Program(NamedTuple):
    """The compiled functions of a setting; those of all seeds."""

    start: Callable[[int], TrainState]
    advance: Callable[[TrainState, Array, int], tuple[TrainState, dict[str, Array]]]  # so many steps
    test: Callable[[ModelParams], tuple[Array, Array]]
    measure: Callable[[ModelParams], dict[str, Any]]
    probe: Array  # inputs of some sequences of the test split
    floor: float


def learn(setting: Setting, seed: int) -> Figures:
    """Trains until the task is solved, the loss is not finite, or the steps are done.

    Figures by step: `loss` (mean of the chunk), `test_loss`, `gradient_norm` (largest of the chunk, before clipping),
    `log_norm` (of d h_T / d h_0), for an LSTM `log_norm_c` (of d c_T / d c_0), `early_share` (of |dL/dx_t|, what falls
    on the first half of the steps); at the end: `final_loss`, `solved`, `diverged`, `floor` (the loss of the best model
    without memory), `accuracy` (of classes, the share that is right), `parameters`, `seconds` of training, and
    `measuring_share`, the seconds of measuring over them.
    Seconds are without compilation.
    """
    program = program_of(setting)
    state, key = program.start(seed), jax.random.key(seed)
    figures, spent, measuring = [], 0.0, 0.0
    _warm_up(program, state, key)
    loss, accuracy, step, solved = math.nan, math.nan, 0, False
    while step < setting.steps and not solved:
        if step % setting.measure_every == 0:
            seconds, found = timed(program.measure, state.params)
            figures += [(step, name, float(value)) for name, value in found.items()]
            measuring += seconds
        seconds, (state, chunk) = timed(program.advance, state, key, CHUNK)
        spent, step = spent + seconds, step + CHUNK
        loss, accuracy = map(float, program.test(state.params))
        figures += [(step, "loss", float(chunk["loss"].mean())), (step, "test_loss", loss)]
        figures.append((step, "gradient_norm", float(chunk["gradient_norm"].max())))
        solved = loss < setting.solved
        if not math.isfinite(loss):
            break
    if math.isfinite(loss):
        figures += [(step, name, float(value)) for name, value in program.measure(state.params).items()]
    size = sum(value.size for value in state.params.values())
    if math.isfinite(accuracy):
        figures.append((step, "accuracy", accuracy))
    return [
        *figures,
        (step, "final_loss", loss),
        (step, "floor", program.floor),
        (step, "solved", solved),
        (step, "diverged", not math.isfinite(loss)),
        (step, "parameters", size),
        (step, "seconds", spent),
        (step, "measuring_share", measuring / spent),
    ]


def timed(function: Callable, *arguments) -> tuple[float, Any]:
    """Seconds of a call until its result is there, and the result."""
    started = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return time.perf_counter() - started, result


def _warm_up(program: Program, state: TrainState, key: Array) -> None:
    jax.block_until_ready((program.measure(state.params), program.advance(state, key, CHUNK)))


@functools.lru_cache(maxsize=1)
def program_of(setting: Setting) -> Program:
    """What trains and measures it."""
    cell, task = find_cell(setting.cell), read_task(setting.task, where="task")(setting.lag)
    treatment, optimizer = Treatment.read(setting.intervention), make_optimizer(_training_fields(setting))

    def model(seed: int) -> ManyToMany:
        return ManyToMany(
            task.in_features, task.out_features, cell=cell, features=setting.features, rngs=nnx.Rngs(seed)
        )

    merge, _ = split_model(model(0))

    def loss_of(params: ModelParams, batch: LagBatch) -> Array:
        return _mean_loss(merge(params)(batch.inputs), batch)

    def penalty_of(params: ModelParams, batch: LagBatch) -> Array:
        inputs = _as_numbers(batch.inputs, task.in_features)[:, :_TRACED]
        return treatment.penalty * _penalty(cell, layer_params(params), inputs)

    def start(seed: int) -> TrainState:
        _, params = split_model(model(seed))
        layer = treatment.start(cell, layer_params(params), jax.random.key(seed), longest=setting.lag)
        if treatment.flossing_steps:
            batch = task.draw(jax.random.key(seed), _PROBE, "train")
            layer = _floss(cell, layer, _as_numbers(batch.inputs, task.in_features), treatment.flossing_steps)
        params = _with_layer(params, layer)
        return TrainState.start(params, optimizer)

    def step(data: Any, key: Array, state: TrainState, _) -> tuple[TrainState, dict[str, Array]]:
        batch = task.sample(data, jax.random.fold_in(key, state.step), setting.batch_size, "train")
        loss, gradients = jax.value_and_grad(loss_of)(state.params, batch)
        if treatment.penalty:
            flossing = jax.grad(penalty_of)(state.params, batch)
            gradients = jax.tree.map(jnp.add, gradients, flossing)
        state = apply_gradients(optimizer, state, gradients)
        limited = treatment.constrain(cell, layer_params(state.params))
        figures = {"loss": loss, "gradient_norm": optax.global_norm(gradients)}
        return state._replace(params=_with_layer(state.params, limited)), figures

    @functools.partial(jax.jit, static_argnums=3)
    def advance(data: Any, state: TrainState, key: Array, steps: int):
        return jax.lax.scan(functools.partial(step, data, key), state, length=steps)

    test = task.draw(jax.random.key(0), _TEST, "test")

    def measure(params: ModelParams) -> dict[str, Any]:
        return _measure(merge, params, cell, test, task.in_features)

    score = jax.jit(functools.partial(_score, merge))
    return Program(
        start,
        functools.partial(advance, task.data),
        functools.partial(score, test),
        measure,
        _as_numbers(test.inputs, task.in_features)[:, :_TRACED],
        task.floor,
    )


def _training_fields(setting: Setting) -> ConfigDict:
    kind, _, limit = setting.clipping.partition(":")
    return ConfigDict(
        {
            "optimizer": setting.optimizer,
            "learning_rate": setting.learning_rate,
            "schedule": "constant",
            "steps": setting.steps,
            "warmup_steps": 0,
            "weight_decay": 0.0,
            "average_decay": 0.0,
            "clip_global_norm": float(limit) if kind == "norm" else 0.0,
            "clip_value": float(limit) if kind == "value" else 0.0,
        }
    )


def _score(merge, test: LagBatch, params: ModelParams) -> tuple[Array, Array]:
    logits = merge(params)(test.inputs)
    return _mean_loss(logits, test), _accuracy(logits, test)


def _mean_loss(logits: Array, batch: LagBatch) -> Array:
    if jnp.issubdtype(batch.labels.dtype, jnp.integer):
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    else:
        losses = (logits[..., 0] - batch.labels) ** 2
    return (losses * batch.weights).sum() / batch.weights.sum()


def _accuracy(logits: Array, batch: LagBatch) -> Array:
    """Share of the classes that count that are right; NaN of a regression."""
    if not jnp.issubdtype(batch.labels.dtype, jnp.integer):
        return jnp.array(jnp.nan)
    return ((logits.argmax(-1) == batch.labels) * batch.weights).sum() / batch.weights.sum()


def layer_params(params: ModelParams) -> Params:
    """The first recurrent layer's, by their names in the cell."""
    return {name.removeprefix(_LAYER): value for name, value in params.items() if name.startswith(_LAYER)}


def _with_layer(params: ModelParams, layer: Params) -> ModelParams:
    return params | {_LAYER + name: value for name, value in layer.items()}


def _as_numbers(inputs: Array, features: int) -> Array:
    return jax.nn.one_hot(inputs, features) if jnp.issubdtype(inputs.dtype, jnp.integer) else inputs


def _measure(merge, params: ModelParams, cell, test: LagBatch, features: int) -> dict[str, Any]:
    layer, inputs = layer_params(params), _as_numbers(test.inputs, features)
    time_steps = inputs.shape[0]
    log_norms = lag_norms(cell, layer, inputs[:, :_TRACED], lags=[time_steps])
    names = ("log_norm", "log_norm_c")
    found = {name: log_norms[0, :, i, i].mean() for i, name in enumerate(names[: len(cell.state_names)])}
    probe = jax.tree.map(lambda value: value[:, :_PROBE], test)
    norms = np.asarray(_input_gradients(merge, params, cell, layer, inputs[:, :_PROBE], probe), np.float64).sum(1)
    return found | {"early_share": norms[: time_steps // 2].sum() / norms.sum() if norms.sum() else math.nan}


@functools.partial(jax.jit, static_argnums=(0, 2))
def _input_gradients(merge, params: ModelParams, cell, layer: Params, inputs: Array, probe: LagBatch) -> Array:
    output = merge(params).output
    return step_gradients(cell, layer, inputs, lambda hidden: _mean_loss(output(hidden), probe)).inputs


def _floss(cell, layer: Params, inputs: Array, steps: int) -> Params:
    optimizer = optax.adam(_FLOSSING_RATE)

    def step(carry, _):
        layer, state = carry
        gradients = jax.grad(lambda layer: _penalty(cell, layer, inputs))(layer)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(layer, updates), state), None

    return jax.jit(lambda layer: jax.lax.scan(step, (layer, optimizer.init(layer)), length=steps)[0][0])(layer)


def _penalty(cell, layer: Params, inputs: Array) -> Array:
    return flossing_penalty(cell, layer, inputs, exponents=min(_FLOSSED, cell.features(layer)))
