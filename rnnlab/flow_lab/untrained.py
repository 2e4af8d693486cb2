"""Measurements of untrained cells over normal inputs: long-term Jacobians, clipped gradients, the cost of a layer."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import ArrayLike

from rnnlab.cells import Cell, Params, State
from rnnlab.flow_lab.runs import Figures, clip_fields
from rnnlab.gradient_flow import Treatment, kaplan_yorke_dimension, lag_jacobians, lyapunov_exponents
from rnnlab.gradient_flow.trajectory import run
from rnnlab.scans import scan, step_jacobian
from rnnlab.tasks.lag.task import default_config
from rnnlab.timing import time_in_turn
from rnnlab.training.optimizer import make_optimizer

_SEQUENCES = 2  # for measuring a Jacobian


def _combine_linear(params: Params, state: State, a: Array, r: Array) -> State:
    return (a + r,)


LINEAR = Cell(name="linear", gates=("h",), combine=_combine_linear)


def start(cell: Cell, treatment: Treatment, features: int, lag: int, seed: int) -> tuple[Params, Array]:
    """Draws parameters, and normal inputs `[lag, sequences, features]`."""
    init_key, treatment_key, inputs_key = jax.random.split(jax.random.key(seed), 3)
    params = treatment.start(cell, cell.init(init_key, features, features), treatment_key, longest=lag)
    return params, jax.random.normal(inputs_key, (lag, _SEQUENCES, features))


def criterion(cell: Cell, params: Params, inputs: Array) -> Figures:
    """Measures the growth of |d h_T / d h_0| in nats per step, the logs of the largest singular value and of the
    largest absolute eigenvalue of R, and the mean log norm of a single step's Jacobian."""
    lag = len(inputs)
    lags = _lags_up_to(lag)
    norms = np.asarray(lag_jacobians(cell, params, inputs, lags=lags).log_norms[:, :, 0, 0]).mean(1)
    recurrent = np.asarray(params["R"], np.float64)
    found = {
        "growth": norms[-1] / lag,
        "log_singular_value": math.log(np.linalg.norm(recurrent, 2)),
        "log_eigenvalue": math.log(np.abs(np.linalg.eigvals(recurrent)).max()),
        "step_norm": _mean_step_norm(cell, params, inputs),
    }
    curve = [(at, "log_norm", float(norm)) for at, norm in zip(lags, norms, strict=True)]
    return [*curve, *((lag, name, float(value)) for name, value in found.items())]


def flow(cell: Cell, params: Params, inputs: Array) -> Figures:
    """Measures `log_norm` of d h_T / d h_(T-lag) by lag; for a cell with an entry c also `log_norm_c`, and
    `log_forget`, the largest product of forget gates over the lag; its largest exponent, Kaplan-Yorke dimension, and
    log condition number."""
    lag = len(inputs)
    lags = _lags_up_to(lag)
    found = lag_jacobians(cell, params, inputs, lags=lags)
    curves: dict[str, ArrayLike] = {"log_norm": found.log_norms[:, :, 0, 0], "log_condition": found.log_condition}
    if "c" in cell.state_names:
        c = cell.state_names.index("c")
        curves |= {"log_norm_c": found.log_norms[:, :, c, c], "log_forget": _log_forget(cell, params, inputs, lags)}
    exponents = lyapunov_exponents(cell, params, inputs, burn_in=lag // 4)
    ends = {"exponent": exponents[:, 0].mean(), "dimension": kaplan_yorke_dimension(exponents).mean()}
    figures = [
        (at, name, float(value.mean()))
        for name, curve in curves.items()
        for at, value in zip(lags, np.asarray(curve), strict=True)
    ]
    return [*figures, *((lag, name, float(value)) for name, value in ends.items())]


def cost(cell: Cell, features: int, batch: int, length: int, repeats: int) -> Figures:
    """Measures seconds of a forward and backward pass (the best of `repeats`), parameters, and FLOPs per step."""
    params = cell.init(jax.random.key(0), features, features)
    inputs = jnp.ones((length, batch, features))
    step = jax.jit(jax.grad(lambda p, x: scan(cell, p, x)[0].mean(), argnums=(0, 1)))
    seconds = time_in_turn({0: lambda: jax.block_until_ready(step(params, inputs))}, repeats=repeats)[0].seconds
    size = sum(value.size for value in params.values())
    products = 2 * sum(params[name].size for name in ("W", "R") if name in params)
    return [(repeat, "seconds", value) for repeat, value in enumerate(seconds)] + [
        (0, "parameters", size),
        (0, "flops_per_step", products),
    ]


def clip(cell: Cell, params: Params, inputs: Array, clipping: str) -> Figures:
    """Measures the gradient of |h_T|^2 / 2 for the parameters, as training would clip it.

    Figures: `cosine` between the gradient and the clipped one; `norm` of either one, `clipped_norm`.
    """
    gradient = jax.jit(jax.grad(lambda p: (scan(cell, p, inputs)[1][0] ** 2).sum() / 2))(params)
    training = default_config().training
    training.update({"optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant", **clip_fields(clipping)})
    optimizer = make_optimizer(training)
    update, _ = optimizer.update(gradient, optimizer.init(params), params)  # by a rate of 1: minus the clipped one
    before, after = (jnp.concatenate([v.ravel() for v in jax.tree.leaves(tree)]) for tree in (gradient, update))
    norm, clipped_norm = optax.global_norm(gradient), optax.global_norm(update)
    cosine = -jnp.vdot(before / norm, after / clipped_norm)
    found = {"cosine": cosine, "norm": norm, "clipped_norm": clipped_norm}
    return [(len(inputs), name, float(value)) for name, value in found.items()]


def _mean_step_norm(cell: Cell, params: Params, inputs: Array) -> float:
    def of_step(at_step):
        return jnp.log(jnp.linalg.norm(step_jacobian(cell, params, *at_step), ord=2, axis=(-2, -1))).mean()

    return float(jax.lax.map(of_step, (run(cell, params, inputs).before, inputs)).mean())


def _log_forget(cell: Cell, params: Params, inputs: Array, lags: list[int]) -> np.ndarray:
    """Returns the log of the largest product, of any unit, of forget gates over the last steps, `[lags, batch]`."""
    found = run(cell, params, inputs)
    gates = jnp.split(found.input_projection + found.recurrent_projection, len(cell.gates), axis=-1)
    backwards = jnp.cumsum(jax.nn.log_sigmoid(gates[cell.gates.index("f")])[::-1], axis=0)
    return np.asarray(backwards[np.asarray(lags) - 1].max(-1))


def _lags_up_to(lag: int) -> list[int]:
    return sorted({round(lag ** (i / 12)) for i in range(13)})
