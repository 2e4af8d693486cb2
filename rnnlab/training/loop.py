"""The training loop: steps, log lines, evaluations, checkpoints; stops and goes on without a trace."""

import logging
import pathlib
import signal
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.files import alone_in
from rnnlab.tasks.base import Task
from rnnlab.training import distributed
from rnnlab.training.checkpoint import Checkpoints, Restored
from rnnlab.training.devices import Devices
from rnnlab.training.flow import FlowProbe
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import last_rate, make_optimizer, make_schedule
from rnnlab.training.report import report
from rnnlab.training.reporting import Reporter
from rnnlab.training.selection import Selection
from rnnlab.training.step import StepMetrics, TrainState, make_train_step, split_model
from rnnlab.training.warm_start import frozen_names, take_over
from rnnlab.training.workdir import create_task

_LOG = logging.getLogger("rnnlab")
_MADE = "the work directory is made"
_RETURN = 1_000_003  # from the seed of one order of the data to the next: no seed that a person would give


class Interrupted(Exception):
    """The run was asked to stop and has saved itself, unless steps were being skipped; `signal` is what asked."""

    def __init__(self, signum: int, *, saved: bool = True):
        where = "here" if saved else "the last checkpoint, for the last steps did not count and nothing was saved"
        super().__init__(f"stopped by {signal.Signals(signum).name}; the same command goes on from {where}")
        self.signal = signum


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains, or goes on from the last checkpoint; then scores the test split and prints samples.

    Raises:
      UserError: what `create_task` or `Devices` refuses, a work directory that another process trains in, or a
        run that met too many steps that do not count.
      Interrupted: after SIGINT or SIGTERM, once the state is saved.
    """
    with distributed.naming_the_lost():
        if distributed.is_first():
            with alone_in(workdir):
                _train(config, workdir)
        else:
            distributed.wait_for_all(_MADE)
            _train(config, workdir)
        distributed.wait_for_all("reported")


def _train(config: ConfigDict, workdir: pathlib.Path) -> None:
    first = distributed.is_first()
    task = create_task(config, workdir)
    if first:
        (workdir / "result.json").unlink(missing_ok=True)  # of a run that ended earlier, perhaps by another config
        distributed.wait_for_all(_MADE)
    run = _Run(task)
    try:
        run.to_the_end()
    finally:
        run.close()
    if first:
        report(task, run.step, len(run.shapes))


class _Taken(NamedTuple):
    """A step since the last log line: its metrics, still on the device, and its examples."""

    metrics: StepMetrics
    rows: list[int]


class _Run:
    """The state of a run between two steps."""

    def __init__(self, task: Task):
        config = task.config.training
        self.task, self.config = task, config
        self._devices = Devices(config)
        model = task.make_model()
        merge, params = split_model(model)
        optimizer = make_optimizer(config)
        intervention = Intervention(config.intervention, model, task.config.seed)
        params = intervention.start(params, longest=task.longest())
        frozen = frozen_names(params, config.freeze)
        if not Checkpoints.are_in(task.workdir / "checkpoints"):
            params = take_over(task.start_params(params), task.config)
        start = TrainState.start(params, optimizer, task.start_carry(model, config.batch_size))
        shardings = self._devices.shardings(start)
        how: dict[str, Any] = {"constrain": intervention.constrain, "frozen": frozen, "shardings": shardings}
        self._step = make_train_step(task.loss, merge, optimizer, config, task.config.seed, **how)
        self._schedule = make_schedule(config)
        self._evaluate_on = task.evaluator(final=False)
        self._probe = FlowProbe(task, task.probe("validation")) if config.measure_every else None
        self._checkpoints = Checkpoints(task.workdir / "checkpoints")
        self._start = jax.tree.map(np.array, start)
        self._selection = Selection(task, self._start.evaluated)
        self.shapes: set[tuple] = set()  # of the batches: the training step is compiled once for each
        self._go_on(self._last_checkpoint())
        size = sum(value.size for value in params.values())
        begun = f"from step {self.step}" if self.step else "from the start"
        for line in (*task.summary(), f"{size:,} parameters; {begun}"):
            self.reporter.say(line)
        if distributed.is_first():
            task.log_data()

    def _last_checkpoint(self, *, before: int | None = None) -> Restored | None:
        first = distributed.is_first()
        found = self._checkpoints.restore(self._start, optional="optimizer", before=before) if first else None
        told = distributed.agree(None if found is None else (found.step, found.record))
        if told is None:
            return None
        return Restored(told[0], distributed.broadcast(self._start if found is None else found.arrays), told[1])

    def _go_on(self, restored: Restored | None, *, returns: int | None = None) -> None:
        """From a checkpoint, else from the start; with `returns`, the data in the order after so many returns."""
        self.step, arrays, decision, self._returns = 0, self._start, None, 0
        position = None
        if restored is not None:
            self.step, arrays = restored.step, restored.arrays
            decision, self._returns = restored.record["decision"], restored.record["returns"]
            position = restored.record["batches"]
        if returns is not None:
            self._returns, position = returns, None
            guard = arrays.guard._replace(skipped=np.zeros_like(arrays.guard.skipped))
            arrays = arrays._replace(guard=guard, carry=self._start.carry)
        self.state = self._devices.place(arrays)
        self._begun, self._saved = self.step, False
        self._selection.resume(decision, self.step)
        seed = self.task.config.seed + _RETURN * self._returns
        self._batches = self.task.batches(seed=seed, process=jax.process_index(), processes=jax.process_count())
        if position is not None:
            self._batches.set_state(position)
        folder, quiet = self.task.workdir, not distributed.is_first()
        folder = folder / f"process_{jax.process_index()}" if quiet else folder
        self.reporter = Reporter(folder, steps=self.config.steps, start=self.step, quiet=quiet)

    def to_the_end(self) -> None:
        """Steps until the number of steps is reached, patience is lost, or a signal asks to stop.

        While steps are skipped nothing is evaluated or saved; what was due then is done after the first that counts.
        """
        config, window = self.config, list[_Taken]()
        evaluates = saves = False
        self._logged = time.monotonic()
        with _Signals() as signals:
            while self.step < config.steps and not self.out_of_patience:
                batch = next(self._batches)
                window.append(taken := self._take(batch))
                last = self.step == config.steps
                logs = self.step % config.log_every == 0 or last
                if logs:
                    told, window = _fetched(window), []
                    if self._judge(told):
                        self._go_back(told)
                        evaluates = saves = False
                        continue
                    self._log(told)
                asked = self._asked(signals, logs)
                if self._probe is not None and self.step % config.measure_every == 0:
                    self._measure(self._probe)
                evaluates |= self.step % config.evaluate_every == 0 or last
                saves |= evaluates or self.step % config.checkpoint_every == 0 or bool(asked)
                counts = not saves or not jax.device_get(taken.metrics.skipped)
                if saves and counts:
                    self._evaluate_and_save(evaluates)
                    evaluates = saves = False
                    self._logged = time.monotonic() if not window else self._logged
                if asked and not last:
                    raise Interrupted(asked, saved=counts)
            if self._selection.undecided:  # no step was left, and the best parameters are lost, or chosen otherwise
                self._evaluate_and_save(True)

    def _take(self, batch: Any) -> _Taken:
        shared = self._devices.share(batch)
        with jax.transfer_guard("disallow"):
            self.state, metrics = self._step(self.state, shared)
        self.step += 1
        self.shapes.add(tuple(leaf.shape for leaf in jax.tree.leaves(shared)))
        return _Taken(metrics, list(self._batches.rows))

    def _asked(self, signals: "_Signals", logs: bool) -> int:
        """The signal that asks to stop: processes tell each other when they log, so that they stop together."""
        return distributed.largest(signals.received) if jax.process_count() == 1 or logs else 0

    def _judge(self, window: list[_Taken]) -> bool:
        """Tells of the steps that did not count, and whether too many of them came in a row, or ended the run."""
        for number, taken in enumerate(window, self.step - len(window) + 1):
            if (metrics := taken.metrics).skipped:
                _LOG.warning(
                    "step %d skipped (%d in a row): loss %.4g, gradient norm %.4g, training examples %s",
                    number,
                    metrics.skipped,
                    metrics.loss,
                    metrics.gradient_norm,
                    self.task.describe(taken.rows),
                )
        ends = self.step == self.config.steps and window[-1].metrics.skipped
        return bool(ends) or any(taken.metrics.skipped >= self.config.most_skipped for taken in window)

    def _go_back(self, window: list[_Taken]) -> None:
        """To the last checkpoint, with the data in another order; to the one before it where no step counted since.

        Raises:
          UserError: it has been done as often as the config allows.
        """
        returns = self._returns + 1
        streak = min(self.config.most_skipped, max(taken.metrics.skipped for taken in window))
        if returns > self.config.most_returns:
            raise UserError(
                f"step {self.step}: {streak} steps in a row had a loss or gradient that is not finite"
                f"{' or a spike' if self.config.spike else ''}, after going back {self._returns} times; try a lower "
                "config.training.learning_rate or clip_global_norm, and look at the examples named above"
            )
        at = self.step
        self.reporter.close()
        at_once = window[-1].metrics.skipped >= self.step - self._begun  # the step before the checkpoint ruined it
        earlier = self._last_checkpoint(before=self._begun) if at_once else None
        self._go_on(earlier or self._last_checkpoint(), returns=returns)
        _LOG.warning(
            "step %d: %d steps in a row did not count; back to step %d, the data in another order (%d of %d times)",
            at,
            streak,
            self.step,
            returns,
            self.config.most_returns,
        )

    @property
    def out_of_patience(self) -> bool:
        """Whether as many evaluations in a row as `patience` says brought no new best."""
        return bool(self.config.patience) and self._selection.misses >= self.config.patience

    def _log(self, window: list[_Taken]) -> None:
        now, metrics = time.monotonic(), [taken.metrics for taken in window]
        seconds, self._logged = now - self._logged, now
        weight = sum(int(m.weight) for m in metrics)
        counted = [m for m in metrics if not m.skipped]
        values = {"skipped": float(len(metrics) - len(counted))}
        if counted:
            values |= {
                "loss": sum(float(m.loss) * int(m.weight) for m in counted) / sum(int(m.weight) for m in counted),
                "gradient_norm": sum(float(m.gradient_norm) for m in counted) / len(counted),
                "clipped": sum(bool(m.clipped) for m in counted) / len(counted),
                "learning_rate": last_rate(self._schedule, self.state.optimizer),
                f"{self.task.unit}_per_second": weight / seconds,
            }
            values |= {name: sum(float(m.figures[name]) for m in counted) / len(counted) for name in counted[0].figures}
        self.reporter.write(self.step, "train", values)

    def _measure(self, probe: FlowProbe) -> None:
        flows = probe.measure(jax.device_put(self._devices.gather(self.state.params)))
        values = {f"{name}/{what}": float(v) for name, flow in flows.items() for what, v in flow.values.items()}
        self.reporter.write(self.step, "flow", values)
        for name, flow in flows.items():
            for what, vector in flow.vectors.items():
                self.reporter.write_vector(self.step, "flow", f"{name}/{what}", np.asarray(vector))
            for gate, counts in flow.gates.items():
                self.reporter.write_histogram(self.step, "flow", f"{name}/gate_{gate}", np.asarray(counts), probe.edges)

    def _evaluate_and_save(self, evaluates: bool) -> None:
        state = self._devices.gather(self.state)
        if evaluates:
            params = state.evaluated
            scores = distributed.agree(self._evaluate_on(jax.device_put(params), "validation"))
            self.reporter.write(self.step, "validation", scores)
            self._selection.judge(self.step, scores, params)
        if distributed.is_first():
            if not self._saved:  # this run went back past them
                self._checkpoints.forget_after(self._begun)
            self._saved = True
            decision = self._selection.decision
            record = {"batches": self._batches.get_state(), "decision": decision, "returns": self._returns}
            self._checkpoints.save(self.step, state, record)

    def close(self) -> None:
        self.reporter.close()
        self._checkpoints.close()
        self._selection.close()


def _fetched(window: list[_Taken]) -> list[_Taken]:
    """The same with the metrics on the host."""
    metrics = jax.device_get([taken.metrics for taken in window])
    return [taken._replace(metrics=m) for taken, m in zip(window, metrics, strict=True)]


class _Signals:
    """Within it, SIGINT and SIGTERM are noted in `received` instead of ending the process; a second one ends it."""

    def __init__(self):
        self.received = 0

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum, _frame):
        if self.received:
            raise KeyboardInterrupt
        self.received = signum
        print("finishing the step and saving ...", file=sys.stderr, flush=True)
