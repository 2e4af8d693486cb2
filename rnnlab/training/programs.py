"""The compiled functions of a task; runs that differ only in their seed can share them."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from rnnlab.tasks.base import ModelParams, Scores, Task
from rnnlab.training.accumulation import check_accumulate
from rnnlab.training.devices import Devices
from rnnlab.training.flow import FlowProbe
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer, make_schedule
from rnnlab.training.step import TrainState, make_train_step, split_model
from rnnlab.training.warm_start import frozen_names
from rnnlab.training.watch import Record, watched


class Programs:
    """The compiled functions of a run.

    Args:
      task: of the run, or of another one with the same data and a config that differs only in its seed.
      devices: to run on; None: all that jax sees.

    Attributes:
      devices: the layout of arrays.
      step: from `make_train_step`.
      schedule: the learning rate of each step.
      flow: measures the gradient flow; None if `training.measure_every` is 0.

    Raises:
      UserError: a config that does not fit the model or the devices.
    """

    def __init__(self, task: Task, devices: Sequence[Any] | None = None):
        config, model = task.config.training, task.sketch
        self.devices, self._precision = Devices(config, devices), config.matmul_precision
        self._merge, shapes = split_model(model)
        self._optimizer, self.schedule = make_optimizer(config), make_schedule(config)
        self._intervention = Intervention(config.intervention, model, self._watch)
        if self._intervention.flosses:
            self._watched_loss = functools.partial(task.watched_loss, batch=jax.device_put(task.probe("train")))
        check_accumulate(config, self.devices.mesh.shape["data"])
        self.step = make_train_step(
            task.loss,
            lambda params: self._merge(self.devices.before_loops(params)),
            self._optimizer,
            config,
            constrain=self._intervention.constrain,
            penalty=self._intervention.penalty,
            frozen=frozen_names(shapes, config.freeze),
            shardings=self.devices.shardings(jax.eval_shape(lambda params: self.state_of(task, params), shapes)),
        )
        self._evaluate = task.evaluator(final=False)
        self.flow = FlowProbe(task, task.probe("validation")) if config.measure_every else None

    def evaluate(self, params: ModelParams, split: str) -> Scores:
        """Scores parameters on a split, as for validation."""
        with jax.default_matmul_precision(self._precision):
            return self._evaluate(params, split)

    def _watch(self, params: ModelParams) -> Mapping[str, Record]:
        """Returns the record of each recurrence on a few training sequences."""
        return watched(self._watched_loss, self._merge(params))[1]

    def start_params(self, task: Task) -> ModelParams:
        """Draws the initial parameters of a run, with the interventions of the config."""
        _, params = split_model(task.make_model())
        return self._intervention.start(params, seed=task.config.seed, longest=task.longest())

    def state_of(self, task: Task, params: ModelParams) -> TrainState:
        """Makes the state before the first step."""
        carry = task.start_carry(self._merge(params), task.config.training.batch_size)
        return TrainState.start(params, self._optimizer, carry)
