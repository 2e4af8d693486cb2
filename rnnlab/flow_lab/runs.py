"""The training runs of the studies: short runs of the task `lag`; those of one setting share compiled programs."""

import dataclasses
import functools
import math
import pathlib
import shutil
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from rnnlab.cells import Params
from rnnlab.gradient_flow import lag_norms
from rnnlab.gradient_flow.contributions import StepGradients
from rnnlab.own_code import own_digests
from rnnlab.tasks.base import ModelParams, Scores
from rnnlab.tasks.lag.task import FIELDS, LagTask, default_config
from rnnlab.training.flow import FlowProbe, early_share
from rnnlab.training.loop import Diverged, Training
from rnnlab.training.programs import Programs
from rnnlab.training.report import best_params
from rnnlab.training.reporting import read_metrics
from rnnlab.training.watch import Record
from rnnlab.training.workdir import create_task

CALL = 50  # maximum steps of one compiled call; validation is scored after each
OTHER_LENGTHS = (0.5, 1, 2, 4)  # times the length in training
_TRACED = 2  # sequences for measuring Jacobians
_RECURRENCE, _LAYER = "0", "stack/layers/0/0/params/"  # the only one of a run
_TOLD = {("train", "loss"): "loss", ("train", "gradient_norm_max"): "gradient_norm"}
_TOLD |= {("validation", "loss"): "validation_loss"}

Figures = list[tuple[int, str, float]]


@dataclasses.dataclass(frozen=True)
class Setting:
    """Everything about a run except its seed."""

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


class _Shared(NamedTuple):
    """Shared by the runs of a setting: compiled programs, and the function that measures norms of Jacobians."""

    programs: Programs
    flow: FlowProbe


class LagRun:
    """A run of a setting between two steps.

    Args:
      call: steps of one compiled call; it must divide the setting's steps.
      scored_every: steps between two evaluations on validation.
    """

    def __init__(self, setting: Setting, seed: int, folder: pathlib.Path, *, call: int, scored_every: int = CALL):
        shutil.rmtree(folder, ignore_errors=True)  # of a stopped lab: its intermediate figures are lost
        self.setting = setting
        self.task = cast(LagTask, create_task(config := _config(setting, seed, call, scored_every), folder))
        self._shared = _shared(setting, call, scored_every, tuple(own_digests(FIELDS, config).items()))
        self._training = Training(self.task, self._shared.programs, quiet=True)

    def __enter__(self) -> "LagRun":
        return self

    def __exit__(self, *_) -> None:
        self._training.close()

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self._training.step

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or the task is solved."""
        return self._training.ended

    @property
    def params(self) -> ModelParams:
        """The current parameters of the model."""
        return self._training.state.params

    @property
    def layer(self) -> Params:
        """The current parameters of the recurrence, by their names in the cell."""
        return layer_params(self.params)

    @property
    def probe(self) -> Array:
        """Inputs of some sequences of the validation split, `[time, batch, features]`."""
        inputs, features = self.task.probe("validation").inputs[:, :_TRACED], self.task.problem.in_features
        return jax.nn.one_hot(inputs, features) if jnp.issubdtype(inputs.dtype, jnp.integer) else inputs

    def until(self, step: int) -> None:
        """Trains until `steps` steps are done, or the run has ended."""
        self._training.until(step)

    def to_the_end(self) -> None:
        """Trains until the run has ended."""
        self._training.to_the_end()

    def norms(self) -> dict[str, float]:
        """Measures `log_norm` of d h_T / d h_0, for an LSTM `log_norm_c` of d c_T / d c_0, and `early_share`, the share
        of the first half of the steps in |dL/dx_t|."""
        found = self._shared.flow.measure(self.params)[_RECURRENCE]
        return {name: float(value) for name, value in found.items()}

    def best(self) -> tuple[ModelParams, Scores]:
        """Returns the best parameters on validation, and their scores on the test split."""
        self._training.close()
        _, params = best_params(self.task)
        return params, self._shared.programs.evaluate(params, "test")


def learn(setting: Setting, seed: int, folder: pathlib.Path) -> Figures:
    """Trains until the task is solved, a loss or gradient is not finite, or the steps are done.

    Figures by step: `loss` (mean since the last one), `gradient_norm` (largest since then, before clipping),
    `validation_loss`, and those of `LagRun.norms`; at the end: `final_loss` and for classes `accuracy` (%), on the test
    split with the best parameters on validation; `solved`, `diverged`, `floor` (the loss of the best model without
    memory), `parameters`.
    """
    figures: Figures = []
    diverged, scores = False, Scores(loss=math.nan)
    with LagRun(setting, seed, folder, call=longest_call(setting)) as run:
        try:
            for step in range(0, setting.steps + setting.measure_every, setting.measure_every):
                run.until(min(step, setting.steps))
                figures += [(run.step, name, value) for name, value in run.norms().items()]
                if run.ended:
                    break
            _, scores = run.best()
        except Diverged:
            diverged = True
        step, floor, parameters = run.step, run.task.problem.floor, sum(value.size for value in run.params.values())
    rows = [(int(row["step"]), (row["split"], row["name"]), float(row["value"])) for row in read_metrics(folder)]
    figures += [(at, _TOLD[what], value) for at, what, value in rows if what in _TOLD]
    solved = any(value <= setting.solved for _, what, value in rows if what == ("validation", "loss"))
    ended = {"final_loss": scores["loss"], "solved": solved, "diverged": diverged, "floor": floor}
    ended |= {"parameters": parameters, **{name: scores[name] for name in ("accuracy",) if name in scores}}
    return figures + [(step, name, float(value)) for name, value in ended.items()]


def read_other_lengths(setting: Setting, seed: int, folder: pathlib.Path) -> Figures:
    """Trains at one length, and reads sequences of others by the same weights.

    Figures by length (step): `loss` of the test split, with the best parameters on validation.
    """
    with LagRun(setting, seed, folder, call=longest_call(setting)) as run:
        run.to_the_end()
        params, _ = run.best()
    figures: Figures = []
    for factor in OTHER_LENGTHS:
        lag = round(factor * setting.lag)
        other = LagTask(_config(dataclasses.replace(setting, lag=lag), seed, CALL, CALL), folder)
        figures.append((lag, "loss", float(other.evaluator(final=True)(params, "test")["loss"])))
    return figures


def longest_call(setting: Setting) -> int:
    """Returns the steps of a call, so that all requested steps fall between two calls."""
    return math.gcd(CALL, setting.steps, setting.measure_every)


def layer_params(params: ModelParams) -> Params:
    """Returns the parameters of the recurrence, by their names in the cell."""
    return {name.removeprefix(_LAYER): value for name, value in params.items() if name.startswith(_LAYER)}


def clip_fields(clipping: str) -> dict[str, float]:
    """Returns the fields of `config.training` for "none", "norm:limit" or "value:limit"."""
    kind, _, limit = clipping.partition(":")
    names = {"norm": "clip_global_norm", "value": "clip_value"}
    return {name: float(limit) if kind == own else 0.0 for own, name in names.items()}


def _config(setting: Setting, seed: int, call: int, scored_every: int) -> ConfigDict:
    config = default_config()
    config.seed = seed
    config.data.update({"name": setting.task, "lag": setting.lag})
    config.model.update({"cell": setting.cell, "features": setting.features})
    config.training.update(
        {
            "steps": setting.steps,
            "steps_per_call": call,
            "batch_size": setting.batch_size,
            "optimizer": setting.optimizer,
            "learning_rate": setting.learning_rate,
            "schedule": "constant",
            **clip_fields(setting.clipping),
            "intervention": setting.intervention,
            "log_every": CALL,
            "evaluate_every": scored_every,
            "checkpoint_every": 0,
            "measure_every": 0,
            "matmul_precision": "highest",
            "stopping_threshold": setting.solved,
            "most_skipped": 1,  # whether a run stays finite is a result
            "most_returns": 0,
        }
    )
    return config


@functools.lru_cache(maxsize=1)
def _shared(setting: Setting, call: int, scored_every: int, own: tuple[tuple[str, str], ...]) -> _Shared:
    """Makes the programs of a setting, and of the digests of the user's own code in it."""
    task = LagTask(_config(setting, 0, call, scored_every), pathlib.Path())
    return _Shared(Programs(task), FlowProbe(task, task.probe("validation"), look=_norms))


def _norms(cell, record: Record, steps: StepGradients) -> dict[str, Array]:
    """Computes the figures of `LagRun.norms`."""
    inputs, state = record.inputs[:, :_TRACED], tuple(entry[:_TRACED] for entry in record.state)
    norms = lag_norms(cell, record.params, inputs, lags=[inputs.shape[0]], state=state)
    names = ("log_norm", "log_norm_c")[: len(cell.state_names)]
    found = {name: norms[0, :, i, i].mean() for i, name in enumerate(names)}
    return found | {"early_share": early_share(steps.inputs.mean(1))}
