"""The studies and their measurements, split into units of work by the config."""

import functools
import itertools
import math
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict
from numpy.typing import ArrayLike

from rnnlab.cells import CELLS, Cell, Params, State, find_cell
from rnnlab.choice import check_choice
from rnnlab.config import split_words
from rnnlab.data.lag_problems import LagProblem
from rnnlab.flow_lab import generation, newton
from rnnlab.flow_lab.config import STUDIES, numbers, read_task, words
from rnnlab.flow_lab.results import Unit
from rnnlab.flow_lab.runs import Figures, Setting, learn
from rnnlab.gradient_flow import Treatment, kaplan_yorke_dimension, lag_jacobians, lyapunov_exponents
from rnnlab.gradient_flow.trajectory import run
from rnnlab.own import absolute_own
from rnnlab.scans import scan, step_jacobian
from rnnlab.timing import time_in_turn
from rnnlab.training.optimizer import OPTIMIZERS

GRIDS = {
    "reach": learn,
    "explosion": learn,
    "vanishing": learn,
    "warm": newton.in_training,
    "generation": generation.generate,
}


def _combine_linear(params: Params, state: State, a: Array, r: Array) -> State:
    return (a + r,)


LINEAR = Cell(name="linear", gates=("h",), combine=_combine_linear)
_WITH_LINEAR = CELLS | {"linear": LINEAR}
_SEQUENCES = 2  # for measuring a Jacobian
_CLIPPINGS = ("none", "norm", "value")
_NO = "none"

Plan = dict[Unit, Callable[[pathlib.Path], Figures]]  # the folder is for the files of a training run


def read_plan(config: ConfigDict) -> Plan:
    """Lists every unit of work, in order, and the function that does it.

    Raises:
      ValueError: an unknown name; names the field and what is allowed.
    """
    studies = [check_choice("config.studies", word, STUDIES) for word in words(config.studies, where="studies")]
    plan: Plan = {}
    looks = (("criterion", _criterion, _WITH_LINEAR), ("flow", _flow, CELLS), ("newton", _newton, CELLS))
    for study, look, cells in looks:
        plan |= _looks(config, study, look, cells)
    for grid in GRIDS:
        plan |= _trainings(config, grid)
    plan |= _costs(config)
    return {unit: work for unit, work in plan.items() if unit.study in studies}


def _looks(config: ConfigDict, study: str, look: Callable[..., Figures], known: Mapping[str, Cell]) -> Plan:
    part = config[study]
    plan: Plan = {}
    cells = _cells(part.cells, f"{study}.cells", known)
    for name, text in itertools.product(cells, words(part.interventions, where=f"{study}.interventions")):
        treatment = _read_treatment(text, f"{study}.interventions")
        if treatment.fits(cells[name]):
            for seed in range(config.seeds):
                unit = Unit(study, name, text, _NO, part.lag, seed)
                look_at = functools.partial(look, cells[name], treatment, config.features, part.lag, seed)
                plan[unit] = _without_files(look_at)
    return plan


def _trainings(config: ConfigDict, grid: str) -> Plan:
    part = config[grid]
    where = f"config.{grid}"
    task = read_task(part.task, where=f"{grid}.task")
    check_choice(f"{where}.optimizer", part.optimizer, OPTIMIZERS)
    cells = _cells(part.cells, f"{grid}.cells")
    clippings = [_check_clipping(w, where) for w in words(part.clippings, where=f"{grid}.clippings")]
    treatments = words(part.interventions, where=f"{grid}.interventions")
    rates = read_rates(part.learning_rates, list(cells), where)
    if grid == "generation":
        _check_generation(cells, part.task, where)
    plan: Plan = {}
    for cell, clipping, text, lag in itertools.product(
        cells, clippings, treatments, numbers(part.lags, where=f"{grid}.lags")
    ):
        if not _read_treatment(text, f"{grid}.interventions").fits(cells[cell]):
            continue
        _check_lag(task, lag, where)
        sizes = {field: part.get(field, config[field]) for field in ("features", "batch_size", "measure_every")}
        same = {field: part[field] for field in ("task", "optimizer", "steps", "solved")}
        setting = Setting(cell, text, clipping, lag=lag, learning_rate=rates[cell], **sizes, **same)
        for seed in range(config.seeds):
            plan[Unit(grid, cell, text, clipping, lag, seed)] = functools.partial(GRIDS[grid], setting, seed)
    return plan


def _without_files(work: Callable[[], Figures]) -> Callable[[pathlib.Path], Figures]:
    return lambda folder: work()


def _costs(config: ConfigDict) -> Plan:
    part = config.cost
    cells = _cells(part.cells, "cost.cells")
    lengths = numbers(part.lengths, where="cost.lengths")
    return {
        Unit("cost", cell, "default", _NO, length, 0): _without_files(
            functools.partial(_cost, cells[cell], config.features, config.batch_size, length, part.repeats)
        )
        for cell, length in itertools.product(cells, lengths)
    }


def _cells(text: str, where: str, known: Mapping[str, Cell] = CELLS) -> dict[str, Cell]:
    names = words(text, where=where)
    try:
        return {name: find_cell(name, known) for name in names}
    except ValueError as error:
        raise ValueError(f"config.{where}: {error}") from None


def _read_treatment(text: str, where: str) -> Treatment:
    try:
        return Treatment.read(text)
    except ValueError as error:
        raise ValueError(f"config.{where}: {error}") from None


def _check_lag(task: Callable[[int], LagProblem], lag: int, where: str) -> None:
    try:
        task(lag)
    except ValueError as error:
        raise ValueError(f"{where}.lags: {error}") from None


def _check_generation(cells: Mapping[str, Cell], task: str, where: str) -> None:
    check_choice(f"{where}.task", task.partition(":")[0], generation.TASKS)
    for name, cell in cells.items():
        try:
            generation.autoregressive(cell)
        except ValueError as error:
            raise ValueError(f"{where}.cells: {name}: {error}") from None


def _check_clipping(word: str, where: str) -> str:
    kind, _, limit = word.partition(":")
    check_choice(f"{where}.clippings", kind, _CLIPPINGS)
    if kind != _NO and not (limit.replace(".", "", 1).isdecimal() and float(limit) > 0):
        raise ValueError(f"{where}.clippings: {word!r} needs a limit above 0 after a colon, such as {kind}:1")
    return word


def read_rates(text: str, cells: list[str], where: str) -> dict[str, float]:
    """Parses the learning rate of each cell from "cell:rate" for each, or one rate for all.

    Raises:
      ValueError: a cell without a rate, or with one that is not above 0.
    """
    pairs = (word.rpartition(":") for word in split_words(text))
    found = {absolute_own(cell): rate for cell, _, rate in pairs}
    try:
        rates = {cell: float(found.get(cell, found.get("", "nan"))) for cell in cells}
    except ValueError:
        rates = {"": math.nan}
    if missing := [cell for cell, rate in rates.items() if not rate > 0]:
        raise ValueError(f"{where}.learning_rates: {text!r} gives no rate above 0 for {', '.join(missing) or 'all'}")
    return rates


def _start(cell: Cell, treatment: Treatment, features: int, lag: int, seed: int) -> tuple[Params, jax.Array]:
    """Draws parameters, and normal inputs `[lag, sequences, features]`."""
    init_key, treatment_key, inputs_key = jax.random.split(jax.random.key(seed), 3)
    params = treatment.start(cell, cell.init(init_key, features, features), treatment_key, longest=lag)
    return params, jax.random.normal(inputs_key, (lag, _SEQUENCES, features))


def _criterion(cell: Cell, treatment: Treatment, features: int, lag: int, seed: int) -> Figures:
    """Measures the growth of |d h_T / d h_0| in nats per step, the logs of the largest singular value and of the
    largest absolute eigenvalue of R, and the mean log norm of a single step's Jacobian."""
    params, inputs = _start(cell, treatment, features, lag, seed)
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


def _mean_step_norm(cell: Cell, params: Params, inputs: jax.Array) -> float:
    def of_step(at_step):
        return jnp.log(jnp.linalg.norm(step_jacobian(cell, params, *at_step), ord=2, axis=(-2, -1))).mean()

    return float(jax.lax.map(of_step, (run(cell, params, inputs).before, inputs)).mean())


def _flow(cell: Cell, treatment: Treatment, features: int, lag: int, seed: int) -> Figures:
    """Measures `log_norm` of d h_T / d h_(T-lag) by lag; for a cell with an entry c also `log_norm_c`, and
    `log_forget`, the largest product of forget gates over the lag; its largest exponent, Kaplan-Yorke dimension, and
    log condition number."""
    params, inputs = _start(cell, treatment, features, lag, seed)
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


def _newton(cell: Cell, treatment: Treatment, features: int, lag: int, seed: int) -> Figures:
    return newton.at_start(cell, *_start(cell, treatment, features, lag, seed))


def _log_forget(cell: Cell, params: Params, inputs: jax.Array, lags: list[int]) -> np.ndarray:
    """Returns the log of the largest product, of any unit, of forget gates over the last steps, `[lags, batch]`."""
    found = run(cell, params, inputs)
    gates = jnp.split(found.input_projection + found.recurrent_projection, len(cell.gates), axis=-1)
    backwards = jnp.cumsum(jax.nn.log_sigmoid(gates[cell.gates.index("f")])[::-1], axis=0)
    return np.asarray(backwards[np.asarray(lags) - 1].max(-1))


def _lags_up_to(lag: int) -> list[int]:
    return sorted({round(lag ** (i / 12)) for i in range(13)})


def _cost(cell: Cell, features: int, batch: int, length: int, repeats: int) -> Figures:
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
