"""The training loop: steps, log lines, evaluations, checkpoints; stops and goes on without a trace."""

import logging
import math
import pathlib
import signal
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from rnnlab.data.batch import Batch
from rnnlab.data.corpus import Corpus, Example
from rnnlab.data.pipeline import training_batches
from rnnlab.errors import UserError
from rnnlab.files import alone_in, write_text
from rnnlab.metrics import LOWER_IS_BETTER
from rnnlab.printing import show, to_json
from rnnlab.training import distributed
from rnnlab.training.checkpoint import Checkpoints, Restored
from rnnlab.training.devices import Devices
from rnnlab.training.evaluation import Evaluator, scored_by, split_scores
from rnnlab.training.experiment import Experiment, create_experiment, log_vocabularies
from rnnlab.training.flow import FlowProbe
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import last_rate, make_optimizer, make_schedule
from rnnlab.training.plots import plot_curves, write_attention
from rnnlab.training.reporting import Reporter
from rnnlab.training.step import ModelParams, StepMetrics, TrainState, make_train_step, split_model
from rnnlab.training.teacher_forcing import make_teacher_forcing

_LOG = logging.getLogger("rnnlab")
_MADE = "the work directory is made"
_PICTURES = 4
_RETURN = 1_000_003  # from the seed of one order of the data to the next: no seed that a person would give
# Which step is best so far: by what it was chosen, its value (None where none was finite), evaluations since.
_UNDECIDED: dict[str, Any] = {"by": None, "best": None, "misses": 0}


class Interrupted(Exception):
    """The run was asked to stop and has saved itself, unless steps were being skipped; `signal` is what asked."""

    def __init__(self, signum: int, *, saved: bool = True):
        where = "here" if saved else "the last checkpoint, for the last steps did not count and nothing was saved"
        super().__init__(f"stopped by {signal.Signals(signum).name}; the same command goes on from {where}")
        self.signal = signum


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains, or goes on from the last checkpoint; then scores the test split and prints samples.

    Raises:
      UserError: what `create_experiment` or `Devices` refuses, a work directory that another process trains in, or a
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
    experiment, corpus = create_experiment(config, workdir)
    if first:
        (workdir / "result.json").unlink(missing_ok=True)  # of a run that ended earlier, perhaps by another config
        distributed.wait_for_all(_MADE)
    run = _Run(experiment, corpus)
    try:
        run.to_the_end()
    finally:
        run.close()
    if first:
        _report(experiment, corpus, run)


class _Taken(NamedTuple):
    """A step since the last log line: its metrics, still on the device, the padding of its batch and its examples."""

    metrics: StepMetrics
    padding: tuple[int, int]
    rows: list[int]


class _Run:
    """The state of a run between two steps."""

    def __init__(self, experiment: Experiment, corpus: Corpus):
        config = experiment.config.training
        self.experiment, self.config, self._corpus = experiment, config, corpus
        self._devices = Devices(config)
        merge, params = split_model(experiment.make_model())
        optimizer = make_optimizer(config)
        intervention = Intervention(experiment.config)
        params = intervention.start(params, longest=max(map(max, experiment.sizes)))
        start = TrainState.start(params, optimizer)
        self._step = make_train_step(
            merge,
            optimizer,
            config,
            experiment.config.seed,
            teacher_forcing=make_teacher_forcing(experiment.config),
            constrain=intervention.constrain,
            shardings=self._devices.shardings(start),
        )
        self._schedule = make_schedule(config)
        self._evaluator = Evaluator(experiment, beam_size=1)
        self._validation = corpus.read("validation")
        for split in corpus.splits[1:]:
            experiment.check_lengths(corpus.read(split), split)
        self._probe = FlowProbe(experiment, merge, self._validation) if config.measure_every else None
        self._checkpoints = Checkpoints(experiment.workdir / "checkpoints")
        self._best = Checkpoints(experiment.workdir / "best", keep=experiment.config.evaluation.average)
        self._by = {name: experiment.config.evaluation[name] for name in scored_by(config.best_metric)}
        self._by["best_metric"] = config.best_metric
        examples = corpus.read("train")
        self._pairs = experiment.training_pairs(examples)
        self._start = jax.tree.map(np.array, start)
        self.shapes: set[tuple[int, ...]] = set()  # of the batches: the training step is compiled once for each
        self._go_on(self._last_checkpoint())
        size = sum(value.size for value in params.values())
        begun = f"from step {self.step}" if self.step else "from the start"
        left = sum(len(example.targets) for example in examples) - len(self._pairs)
        out = f" ({left:,} longer than config.data.longest left out)" if left else ""
        self.reporter.say(f"{len(self._pairs):,} pairs{out}, {size:,} parameters, buckets {experiment.sizes}; {begun}")
        if distributed.is_first():
            log_vocabularies(experiment, {"train": self._pairs, "validation": experiment.encode(self._validation)})

    def _last_checkpoint(self, *, before: int | None = None) -> Restored | None:
        first = distributed.is_first()
        found = self._checkpoints.restore(self._start, optional="optimizer", before=before) if first else None
        told = distributed.agree(None if found is None else (found.step, found.record))
        if told is None:
            return None
        return Restored(told[0], distributed.broadcast(self._start if found is None else found.arrays), told[1])

    def _go_on(self, restored: Restored | None, *, returns: int | None = None) -> None:
        """From a checkpoint, else from the start; with `returns`, the data in the order after so many returns."""
        self.step, arrays, self.decision, self._returns = 0, self._start, _UNDECIDED, 0
        position = None
        if restored is not None:
            self.step, arrays = restored.step, restored.arrays
            self.decision, self._returns = restored.record["decision"], restored.record["returns"]
            position = restored.record["batches"]
        if returns is not None:
            self._returns, position = returns, None
            arrays = arrays._replace(guard=arrays.guard._replace(skipped=np.zeros_like(arrays.guard.skipped)))
        self.state = self._devices.place(arrays)
        self._begun, self._saved = self.step, False
        self.decision = self._still_valid(self.decision)
        seed = self.experiment.config.seed + _RETURN * self._returns
        share = {"process": jax.process_index(), "processes": jax.process_count()}
        self._batches = iter(
            training_batches(self._pairs, self.experiment.sizes, self.config.batch_size, seed=seed, **share)
        )
        if position is not None:
            self._batches.set_state(position)
        folder, quiet = self.experiment.workdir, not distributed.is_first()
        folder = folder / f"process_{jax.process_index()}" if quiet else folder
        self.reporter = Reporter(folder, steps=self.config.steps, start=self.step, quiet=quiet)

    def _still_valid(self, decision: dict[str, Any]) -> dict[str, Any]:
        """The decision of a checkpoint; none if this config decides by something else, or if what it chose is lost.

        Best parameters of later steps than this one are of another run, and taken away.
        """
        if distributed.is_first() and (later := self._best.forget_after(self.step)):
            _LOG.warning("step %d: the best parameters of later steps (%s) are taken away", self.step, later)
        newest = max(self._best.steps(), default=None)
        found = self._best.restore(self._start.evaluated) if distributed.is_first() else None
        if decision.get("by") == self._by and distributed.agree(found is not None and found.step == newest):
            return decision
        if decision["best"] is not None:
            _LOG.info("step %d: which step is best is decided anew, by %s", self.step, self.config.best_metric)
        return _UNDECIDED

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
            if self.decision["by"] is None:  # no step was left, and the best parameters are lost, or chosen otherwise
                self._evaluate_and_save(True)

    def _take(self, batch: Batch) -> _Taken:
        shared = self._devices.share(batch)
        with jax.transfer_guard("disallow"):
            self.state, metrics = self._step(self.state, shared)
        self.step += 1
        self.shapes.add((*shared.source.shape, *shared.labels.shape))
        return _Taken(metrics, batch.padding, self._batches.rows)

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
                    self._corpus.describe("train", self._pairs.examples[taken.rows].tolist()),
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
        return bool(self.config.patience) and self.decision["misses"] >= self.config.patience

    def _log(self, window: list[_Taken]) -> None:
        now, metrics = time.monotonic(), [taken.metrics for taken in window]
        seconds, self._logged = now - self._logged, now
        tokens = sum(int(m.tokens) for m in metrics)
        padded, cells = (sum(column) for column in zip(*(taken.padding for taken in window), strict=True))
        counted = [m for m in metrics if not m.skipped]
        values = {"skipped": float(len(metrics) - len(counted))}
        if counted:
            values |= {
                "loss": sum(float(m.loss) * int(m.tokens) for m in counted) / sum(int(m.tokens) for m in counted),
                "gradient_norm": sum(float(m.gradient_norm) for m in counted) / len(counted),
                "clipped": sum(bool(m.clipped) for m in counted) / len(counted),
                "learning_rate": last_rate(self._schedule, self.state.optimizer),
                "tokens_per_second": tokens / seconds,
                "padding": padded / cells,
            }
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
            self._evaluate(state.evaluated)
        if distributed.is_first():
            if not self._saved:  # this run went back past them
                self._checkpoints.forget_after(self._begun)
            self._saved = True
            record = {"batches": self._batches.get_state(), "decision": self.decision, "returns": self._returns}
            self._checkpoints.save(self.step, state, record)

    def _evaluate(self, params: ModelParams) -> None:
        scores = distributed.agree(self._evaluator.evaluate(jax.device_put(params), self._validation))
        self.reporter.write(self.step, "validation", scores)
        value, best = float(scores[self.config.best_metric]), self.decision["best"]
        sound = math.isfinite(value) and math.isfinite(float(scores["loss"]))  # of NaN a search finds something, too
        lower = self.config.best_metric in LOWER_IS_BETTER
        better = sound and (best is None or (value < best if lower else value > best))
        misses = 0 if better else self.decision["misses"] + 1
        self.decision = {"by": self._by, "best": value if better else best, "misses": misses}
        if distributed.is_first() and (better or not self._best.steps()):
            self._best.save(self.step, params, {self.config.best_metric: value if sound else None})
            if best is None:  # what is there was chosen by something else, or is not finite
                self._best.keep_only(self.step)

    def close(self) -> None:
        self.reporter.close()
        self._checkpoints.close()
        self._best.close()


def _report(experiment: Experiment, corpus: Corpus, run: _Run) -> None:
    """Scores the best parameters into `result.json`; then draws the pictures, prints samples and, last, the scores."""
    step, params = experiment.best_params()
    evaluator = Evaluator(experiment, beam_size=experiment.config.evaluation.beam_size)
    split = "test" if "test" in corpus.splits else "validation"
    examples = corpus.read(split)
    scores = to_json(split_scores(evaluator, params, split, examples))
    write_text(experiment.workdir / "result.json", scores)
    plot_curves(experiment)
    if experiment.config.model.attention != "none":
        shown = [experiment.source.encode(example.source) for example in corpus.read("validation")[:_PICTURES]]
        said = [found.tokens[0] for found in evaluator.search(params, shown)]
        stems = [experiment.workdir / f"attention_{i}" for i in range(_PICTURES)]
        write_attention(evaluator, params, shown, said, stems)
    _print_samples(evaluator, params, examples[: experiment.config.evaluation.samples])
    show(f"best step {step} of {run.step}; compiled train-step shapes: {len(run.shapes)}")
    show(scores)


def _fetched(window: list[_Taken]) -> list[_Taken]:
    """The same with the metrics on the host."""
    metrics = jax.device_get([taken.metrics for taken in window])
    return [taken._replace(metrics=m) for taken, m in zip(window, metrics, strict=True)]


def _print_samples(evaluator: Evaluator, params: ModelParams, examples: list[Example]) -> None:
    for example, said in zip(examples, evaluator.predict(params, [e.source for e in examples]), strict=True):
        right = [evaluator.experiment.target.read_text(text).text for text in example.targets]
        show(f"{example.source} -> {said}" + ("" if said in right else f"   (reference: {' | '.join(right)})"))


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
