"""The training loop: steps, log lines, evaluations, checkpoints; stops and goes on without a trace."""

import json
import pathlib
import signal
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from rnnlab.data.corpus import Corpus, Example
from rnnlab.data.pipeline import training_batches
from rnnlab.metrics import LOWER_IS_BETTER
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.evaluation import Evaluator, split_scores
from rnnlab.training.experiment import Experiment, create_experiment
from rnnlab.training.flow import FlowProbe
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer, make_schedule
from rnnlab.training.plots import plot_curves, write_attention
from rnnlab.training.reporting import Reporter
from rnnlab.training.step import ModelParams, StepMetrics, TrainState, make_train_step, split_model
from rnnlab.training.teacher_forcing import make_teacher_forcing

_PICTURES = 4
_UNDECIDED: dict[str, Any] = {"best": None, "misses": 0}


class Interrupted(Exception):
    """The run was asked to stop and has saved itself; `signal` is what asked."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}; the same command goes on from here")
        self.signal = signum


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains, or goes on from the last checkpoint; then scores the test split and prints samples.

    Raises:
      UserError: what `create_experiment` refuses.
      Interrupted: after SIGINT or SIGTERM, once the state is saved.
    """
    experiment, corpus = create_experiment(config, workdir)
    run = _Run(experiment, corpus)
    try:
        run.to_the_end()
    finally:
        run.close()
    _report(experiment, corpus, run)


class _Window(NamedTuple):
    """Steps since the last log line: their metrics, still on the device, and the padding of their batches."""

    started: float
    metrics: list[StepMetrics]
    padding: list[tuple[int, int]]


class _Run:
    """The state of a run between two steps."""

    def __init__(self, experiment: Experiment, corpus: Corpus):
        config = experiment.config.training
        self.experiment, self.config = experiment, config
        merge, params = split_model(experiment.make_model())
        optimizer = make_optimizer(config)
        intervention = Intervention(experiment.config)
        params = intervention.start(params, longest=max(map(max, experiment.sizes)))
        self._step = make_train_step(
            merge,
            optimizer,
            config,
            experiment.config.seed,
            teacher_forcing=make_teacher_forcing(experiment.config),
            constrain=intervention.constrain,
        )
        self._schedule = make_schedule(config)
        self._evaluator = Evaluator(experiment, beam_size=1)
        self._validation = corpus.read("validation")
        self._probe = FlowProbe(experiment, merge, self._validation) if config.measure_every else None
        self._checkpoints = Checkpoints(experiment.workdir / "checkpoints")
        self._best = Checkpoints(experiment.workdir / "best", keep=experiment.config.evaluation.average)
        pairs = experiment.encode(corpus.read("train"))
        batches = training_batches(pairs, experiment.sizes, config.batch_size, seed=experiment.config.seed)
        self._batches = iter(batches)
        self.state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
        self.step, self.decision = 0, dict(_UNDECIDED)
        self.shapes: set[tuple[int, ...]] = set()  # of the batches: the training step is compiled once for each
        self._resume()
        self.reporter = Reporter(experiment.workdir, steps=config.steps, start=self.step)
        size = sum(value.size for value in params.values())
        start = f"from step {self.step}" if self.step else "from the start"
        self.reporter.say(f"{len(pairs):,} pairs, {size:,} parameters, buckets {experiment.sizes}; {start}")

    def _resume(self) -> None:
        restored = self._checkpoints.restore(self.state)
        if restored is None:
            return
        self.step, self.state = restored.step, restored.arrays
        self._batches.set_state(restored.record["batches"])
        self.decision = restored.record["decision"]

    def to_the_end(self) -> None:
        """Steps until the number of steps is reached, patience is lost, or a signal asks to stop."""
        config = self.config
        window = _Window(time.monotonic(), [], [])
        with _Signals() as signals:
            while self.step < config.steps and not self.out_of_patience:
                batch = next(self._batches)
                with jax.transfer_guard("disallow"):
                    self.state, metrics = self._step(self.state, jax.device_put(batch))
                self.step += 1
                self.shapes.add((*batch.source.shape, *batch.labels.shape))
                window.metrics.append(metrics)
                window.padding.append(batch.padding)
                last = self.step == config.steps
                if self.step % config.log_every == 0 or last:
                    self._log(window)
                    window = _Window(time.monotonic(), [], [])
                if self._probe is not None and self.step % config.measure_every == 0:
                    self._measure(self._probe)
                if evaluates := self.step % config.evaluate_every == 0 or last:
                    self._evaluate()
                if evaluates or self.step % config.checkpoint_every == 0 or signals.received:
                    self._save()
                    window = window._replace(started=time.monotonic()) if not window.metrics else window
                if signals.received and not last:
                    raise Interrupted(signals.received)

    @property
    def out_of_patience(self) -> bool:
        """Whether as many evaluations in a row as `patience` says brought no new best."""
        return bool(self.config.patience) and self.decision["misses"] >= self.config.patience

    def _log(self, window: _Window) -> None:
        metrics = jax.device_get(window.metrics)
        seconds = time.monotonic() - window.started
        tokens = sum(int(m.tokens) for m in metrics)
        padded, cells = (sum(column) for column in zip(*window.padding, strict=True))
        values = {
            "loss": sum(float(m.loss) * int(m.tokens) for m in metrics) / tokens,
            "gradient_norm": sum(float(m.gradient_norm) for m in metrics) / len(metrics),
            "clipped": sum(bool(m.clipped) for m in metrics) / len(metrics),
            "learning_rate": float(self._schedule(self.step - 1)),
            "tokens_per_second": tokens / seconds,
            "padding": padded / cells,
        }
        self.reporter.write(self.step, "train", values)

    def _measure(self, probe: FlowProbe) -> None:
        flows = probe.measure(self.state.params)
        values = {f"{name}/{what}": float(v) for name, flow in flows.items() for what, v in flow.values.items()}
        self.reporter.write(self.step, "flow", values)
        for name, flow in flows.items():
            for what, vector in flow.vectors.items():
                self.reporter.write_vector(self.step, "flow", f"{name}/{what}", np.asarray(vector))
            for gate, counts in flow.gates.items():
                self.reporter.write_histogram(self.step, "flow", f"{name}/gate_{gate}", np.asarray(counts), probe.edges)

    def _evaluate(self) -> None:
        params = self.state.evaluated
        scores = self._evaluator.evaluate(params, self._validation)
        self.reporter.write(self.step, "validation", scores)
        value, best = float(scores[self.config.best_metric]), self.decision["best"]
        lower = self.config.best_metric in LOWER_IS_BETTER
        if best is None or (value < best if lower else value > best):
            self.decision = {"best": value, "misses": 0}
            self._best.save(self.step, params, {self.config.best_metric: value})
        else:
            self.decision = self.decision | {"misses": self.decision["misses"] + 1}

    def _save(self) -> None:
        record = {"batches": self._batches.get_state(), "decision": self.decision}
        self._checkpoints.save(self.step, self.state, record)

    def close(self) -> None:
        self.reporter.close()
        self._checkpoints.close()
        self._best.close()


def _report(experiment: Experiment, corpus: Corpus, run: _Run) -> None:
    """Scores the best parameters, draws the pictures, prints samples and, last, one JSON object."""
    step, params = experiment.best_params()
    evaluator = Evaluator(experiment, beam_size=experiment.config.evaluation.beam_size)
    plot_curves(experiment)
    if experiment.config.model.attention != "none":
        shown = [experiment.source.encode(example.source) for example in corpus.read("validation")[:_PICTURES]]
        said = [found.tokens[0] for found in evaluator.search(params, shown)]
        stems = [experiment.workdir / f"attention_{i}" for i in range(_PICTURES)]
        write_attention(evaluator, params, shown, said, stems)
    split = "test" if "test" in corpus.splits else "validation"
    examples = corpus.read(split)
    _print_samples(evaluator, params, examples[: experiment.config.evaluation.samples])
    print(f"best step {step} of {run.step}; compiled train-step shapes: {len(run.shapes)}")
    print(json.dumps(split_scores(evaluator, params, split, examples)))


def _print_samples(evaluator: Evaluator, params: ModelParams, examples: list[Example]) -> None:
    for example, said in zip(examples, evaluator.predict(params, [e.source for e in examples]), strict=True):
        right = " | ".join(example.targets)
        print(f"{example.source} -> {said}" + ("" if said in example.targets else f"   (reference: {right})"))


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
