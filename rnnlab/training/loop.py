"""The training loop: steps, log lines, evaluations, checkpoints; stopping and resuming leave no trace."""

import contextlib
import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.files import alone_in, write_text
from rnnlab.printing import to_json
from rnnlab.tasks.base import Task
from rnnlab.training import distributed, placing
from rnnlab.training.checkpoint import Checkpoints, Restored
from rnnlab.training.devices import describe_machine
from rnnlab.training.feed import Feed
from rnnlab.training.flow import FlowProbe, flow_table
from rnnlab.training.optimizer import observe_validation
from rnnlab.training.programs import Programs
from rnnlab.training.report import report
from rnnlab.training.reporting import Reporter
from rnnlab.training.selection import Selection
from rnnlab.training.signals import Interrupted, Signals
from rnnlab.training.step import running_statistics
from rnnlab.training.tracking import Tracking, start_tracking
from rnnlab.training.warm_start import take_over
from rnnlab.training.window import Call, Step, fetch, skipped_steps, summarize
from rnnlab.training.workdir import create_task

_LOG = logging.getLogger("rnnlab")
_MADE = "the work directory is made"
_RETURN = 1_000_003  # step from one data seed to the next, unlikely to meet another seed in use


class Diverged(UserError):
    """Too many steps in a row were skipped, and the run stops."""


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains, or resumes from the last checkpoint; then scores the test split and prints samples.

    Raises:
      UserError: an error of `create_task` or `Devices`, or another process trains in the work directory.
      Diverged: too many steps were skipped.
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
        (workdir / "result.json").unlink(missing_ok=True)  # of an earlier run, perhaps with another config
        distributed.wait_for_all(_MADE)
    tracking = start_tracking(task.config, workdir) if first else None
    try:
        with Training(task, Programs(task), tracking=tracking) as training:
            training.to_the_end()
        if first:
            scores = report(task, training.step, len(training.shapes))
            if tracking is not None:
                tracking.log(training.step, scores)
    finally:
        if tracking is not None:
            tracking.close()


class Training:
    """A run between two steps; it resumes from the last checkpoint of its work directory.

    Args:
      task: the task to train.
      programs: made from the task, or from one that differs only in its seed.
      quiet: prints nothing on the terminal.
      tracking: gets the scalars of the run.

    Attributes:
      step: the number of steps done.
      state: the training state after them, on the devices.
      shapes: of the batches so far; the program was compiled for each of them.
    """

    def __init__(self, task: Task, programs: Programs, *, quiet: bool = False, tracking: Tracking | None = None):
        self.task, self.config, self._programs, self._quiet = task, task.config.training, programs, quiet
        self._devices, self._step, self._evaluate_on = programs.devices, programs.step, programs.evaluate
        self._seed = self._devices.replicate(np.uint32(task.config.seed))
        processes = {"process": jax.process_index(), "processes": jax.process_count()}
        self._checkpoints = Checkpoints(task.workdir / "checkpoints", **processes)
        params = programs.start_params(task)
        self._start = jax.tree.map(np.array, programs.state_of(task, params))
        if (checkpoint := self._last_checkpoint()) is None:
            params = take_over(task.start_params(params), task)
            self._start = jax.tree.map(np.array, programs.state_of(task, params))
        self._selection = Selection(task, self._start.evaluated)
        self._tracking = tracking
        self.shapes: set[tuple] = set()
        self._go_on(checkpoint)
        statistics = running_statistics(task.sketch)
        size = sum(value.size for name, value in params.items() if name not in statistics)
        begun = f"from step {self.step}" if self.step else "from the start"
        lines = [*task.summary(), f"{size:,} parameters; {begun}"]
        for line in lines:
            self.reporter.terminal.say(line)
        if distributed.is_first() and not quiet:
            write_text(task.workdir / "start.json", to_json({"lines": lines, "machine": describe_machine()}))
            task.log_data()

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # --- start and end

    def _last_checkpoint(self, *, before: int | None = None) -> Restored | None:
        first = distributed.is_first()
        self._checkpoints.wait_for_parts()
        found = self._checkpoints.restore(self._start, optional="optimizer", before=before) if first else None
        told = distributed.agree(None if found is None else (found.step, found.record))
        if told is None:
            return None
        return Restored(told[0], distributed.broadcast(self._start if found is None else found.arrays), told[1])

    def _go_on(self, restored: Restored | None, *, returns: int | None = None) -> None:
        """Starts from a checkpoint, else from the beginning; `returns` selects the order of the data after returns."""
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
        self._window: list[Call] = []
        self._evaluates = self._saves = False  # what is due after the next applied step
        self._selection.resume(decision, self.step)
        seed = self.task.config.seed + _RETURN * self._returns
        batches = self.task.batches(seed=seed, process=jax.process_index(), processes=jax.process_count())
        if position is not None:
            batches.set_state(position)
        self._feed = Feed(batches, self._devices, self.config.steps_per_call)
        first, folder = distributed.is_first(), self.task.workdir
        folder = folder if first else folder / f"process_{jax.process_index()}"
        quiet = self._quiet or not first
        self.reporter = Reporter(folder, steps=self.config.steps, start=self.step, quiet=quiet, tracking=self._tracking)

    @property
    def ended(self) -> bool:
        """Whether all steps are done, patience is exhausted, or `training.stopping_threshold` is reached."""
        lost = bool(self.config.patience) and self._selection.misses >= self.config.patience
        return self.step >= self.config.steps or lost or self._selection.reached(self.config.stopping_threshold)

    # --- steps

    def to_the_end(self) -> None:
        """Trains until the run has ended.

        Raises:
          Diverged, Interrupted: as `train`.
        """
        self.until(self.config.steps)
        if self._selection.undecided:  # no steps left, but the best parameters are lost, or were selected differently
            self._evaluate_and_save(evaluates=True)

    def until(self, step: int) -> None:
        """Trains until so many steps are done, or the run has ended.

        While steps are skipped nothing is evaluated or saved; whatever was due follows the first applied step.

        Raises:
          Diverged, Interrupted: as `train`.
        """
        self._logged = time.monotonic()
        with Signals() as signals:
            while self.step < step and not self.ended:
                self._advance(signals)

    def _advance(self, signals: Signals) -> None:
        """Does a call of the program, and whatever is due after it."""
        config = self.config
        self._window.append(call := self._take())
        last = self.step == config.steps
        logs = self._is_due(config.log_every) or last
        if logs:
            steps, self._window = fetch(self._window), []
            self._tell_skipped(steps)
            if self._too_many(steps):
                self._go_back(steps)
                return
            self._log(steps)
            self._logged = time.monotonic()
        elif self.step == config.steps_per_call:  # other shapes are still to be compiled before the next line
            self._log(fetch(self._window))
        asked = self._asked(signals, logs)
        if self._programs.flow is not None and self._is_due(config.measure_every):
            self._measure(self._programs.flow)
        self._evaluates |= self._is_due(config.evaluate_every) or last
        self._saves |= self._evaluates or self._is_due(config.checkpoint_every) or bool(asked)
        counts = not self._saves or call.last_counts
        if self._saves and counts:
            self._evaluate_and_save(evaluates=self._evaluates, stops=last or bool(asked))
            self._logged = self._logged if self._window else time.monotonic()
        if asked and not last:
            raise Interrupted(asked, saved=counts)

    def _is_due(self, every: int) -> bool:
        return bool(every) and self.step % every == 0

    def _take(self) -> Call:
        given = self._feed.take()
        shape = tuple(leaf.shape for leaf in jax.tree.leaves(given.arrays))
        with self._compiling(shape), jax.transfer_guard("disallow"):
            self.state, metrics = self._step(self.state, given.arrays, self._seed)
        self.step += self.config.steps_per_call
        if self.step < self.config.steps:
            self._feed.prepare()
        self.reporter.terminal.move(self.step)
        return Call(metrics, given.rows)

    @contextlib.contextmanager
    def _compiling(self, shape: tuple) -> Iterator[None]:
        """Logs, if a shape of batches is new, that its body compiles, and records the seconds that this takes."""
        if shape in self.shapes:
            yield
            return
        self.shapes.add(shape)
        listed, begun = ", ".join(str(list(each)) for each in dict.fromkeys(shape)), time.monotonic()
        self.reporter.terminal.say(f"compiling for batches of {listed} (shape {len(self.shapes)})")
        with self.reporter.terminal.doing("compiling"):
            yield
        self.reporter.write_compiled(self.step, listed, time.monotonic() - begun)

    def _asked(self, signals: Signals, logs: bool) -> int:
        """Returns the signal to stop: processes share it when they log, so that they stop together."""
        return distributed.largest(signals.received) if jax.process_count() == 1 or logs else 0

    # --- skipped steps

    def _tell_skipped(self, steps: list[Step]) -> None:
        if not self._quiet:
            skipped = list(skipped_steps(steps, self.step, self.task.describe))
            self.reporter.write_skipped(skipped)
            for each in skipped:
                _LOG.warning("%s", each)

    def _too_many(self, steps: list[Step]) -> bool:
        """Returns whether too many steps in a row were skipped, or the run would end with a skipped one."""
        ends = self.step == self.config.steps and steps[-1].metrics.skipped
        return bool(ends) or any(step.metrics.skipped >= self.config.most_skipped for step in steps)

    def _go_back(self, steps: list[Step]) -> None:
        """Returns to the last checkpoint, or to the one before if no step was applied since; reorders the data.

        Raises:
          Diverged: the config allows no further return.
        """
        returns = self._returns + 1
        streak = min(self.config.most_skipped, max(step.metrics.skipped for step in steps))
        if returns > self.config.most_returns:
            what = "not finite or a spike" if self.config.spike else "not finite"
            steps_in_a_row = f"{streak} step{'' if streak == 1 else 's'} in a row"
            raise Diverged(
                f"step {self.step}: {steps_in_a_row} had a loss or gradient that is {what}, "
                f"after {self._returns} returns to a checkpoint; try a lower config.training.learning_rate or "
                "clip_global_norm, and look at the examples named above"
            )
        at = self.step
        self.reporter.close()
        at_once = steps[-1].metrics.skipped >= self.step - self._begun  # the step before the checkpoint ruined it
        earlier = self._last_checkpoint(before=self._begun) if at_once else None
        self._go_on(earlier or self._last_checkpoint(), returns=returns)
        _LOG.warning(
            "step %d: %d steps in a row were skipped; back to step %d, the data in another order (%d of %d times)",
            at,
            streak,
            self.step,
            returns,
            self.config.most_returns,
        )

    # --- logging and saving

    def _log(self, steps: list[Step]) -> None:
        seconds = time.monotonic() - self._logged
        how: dict[str, Any] = {"schedule": self._programs.schedule, "optimizer": self.state.optimizer}
        values = summarize(steps, seconds, unit=self.task.unit, **how)
        shown = ["loss", "gradient_norm", f"{self.task.unit}_per_second", *["skipped"] * bool(values["skipped"])]
        self.reporter.write(self.step, "train", values, shown=shown)

    def _measure(self, probe: FlowProbe) -> None:
        with self.reporter.terminal.doing("measuring"):
            flows = probe.measure(self._devices.replicate(self.state.params))
        values = {f"{name}/{what}": float(v) for name, flow in flows.items() for what, v in flow.values.items()}
        self.reporter.write(self.step, "flow", values, shown=())
        self.reporter.say(self.step, "flow", flow_table(flows))
        for name, flow in flows.items():
            for what, vector in flow.vectors.items():
                self.reporter.write_vector(self.step, "flow", f"{name}/{what}", np.asarray(vector))
            for gate, counts in flow.gates.items():
                self.reporter.write_histogram(self.step, "flow", f"{name}/gate_{gate}", np.asarray(counts), probe.edges)

    def _evaluate_and_save(self, *, evaluates: bool, stops: bool = True) -> None:
        """Evaluates if that is due, and saves; with `checkpoint_every` = 0 saves only if it `stops` the run."""
        self._evaluates = self._saves = False
        if evaluates:
            params = self._devices.replicate(self.state.evaluated)
            with self.reporter.terminal.doing("evaluating"):
                scores = distributed.agree(self._evaluate_on(params, "validation"))
            metrics = dict.fromkeys(("loss", self.config.best_metric, *self.task.curves()))
            self.reporter.write(self.step, "validation", scores, shown=metrics)
            self._selection.judge(self.step, scores, placing.fetch(params))
            self._observe(float(scores["loss"]))
        if stops or self.ended or self.config.checkpoint_every:
            if not self._saved:  # this run returned to before them
                self._checkpoints.forget_after(self._begun)
            self._saved = True
            decision = self._selection.decision
            record = {"batches": self._feed.position, "decision": decision, "returns": self._returns}
            self._checkpoints.save(self.step, self.state, record)

    def _observe(self, loss: float) -> None:
        """Lets the optimizer observe the loss of an evaluation."""
        optimizer = observe_validation(self.state.optimizer, loss)
        if optimizer is not self.state.optimizer:
            self.state = self._devices.place(self.state._replace(optimizer=optimizer))

    def close(self) -> None:
        """Waits for pending writes."""
        self.reporter.close()
        self._checkpoints.close()
        self._selection.close()
