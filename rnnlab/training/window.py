"""The steps since the last log line: their metrics, and the values to log."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from rnnlab.training.optimizer import last_rate
from rnnlab.training.step import StepMetrics


class Call(NamedTuple):
    """One call of the compiled program: the metrics of its steps, still on the device, and the examples of each."""

    metrics: StepMetrics
    rows: list[list[int]]

    @property
    def last_counts(self) -> bool:
        """Returns whether its last step was applied; waits for it."""
        return not np.ravel(jax.device_get(self.metrics.skipped))[-1]


class Step(NamedTuple):
    """One step, its metrics on the host."""

    metrics: StepMetrics
    rows: list[int]


def fetch(calls: Sequence[Call]) -> list[Step]:
    """Waits for calls, and returns their steps one by one."""
    return [
        step
        for call, metrics in zip(calls, jax.device_get([c.metrics for c in calls]), strict=True)
        for step in _each(metrics, call.rows)
    ]


def _each(metrics: StepMetrics, rows: list[list[int]]) -> Iterator[Step]:
    of_steps = jax.tree.map(np.atleast_1d, metrics)
    for index, own in enumerate(rows):
        yield Step(jax.tree.map(lambda values: values[index], of_steps), own)  # noqa: B023 (used at once)


class Skipped(NamedTuple):
    """A skipped step: how many were skipped in a row up to it, its metrics, and the names of its examples."""

    step: int
    in_a_row: int
    loss: float
    gradient_norm: float
    examples: str

    def __str__(self) -> str:
        return (
            f"step {self.step} skipped ({self.in_a_row} in a row): loss {self.loss:.4g}, gradient norm "
            f"{self.gradient_norm:.4g}, training examples {self.examples}"
        )


def skipped_steps(steps: Sequence[Step], last: int, describe: Callable[[list[int]], str]) -> Iterator[Skipped]:
    """Yields the skipped steps; `last` is the number of the last step."""
    for number, (metrics, rows) in enumerate(steps, last - len(steps) + 1):
        if metrics.skipped:
            in_a_row, loss, norm = int(metrics.skipped), float(metrics.loss), float(metrics.gradient_norm)
            yield Skipped(number, in_a_row, loss, norm, describe(rows))


def summarize(
    steps: Sequence[Step], seconds: float, *, unit: str, schedule: optax.Schedule, optimizer: Any
) -> dict[str, float]:
    """Computes the values of a log line for steps that took some seconds: means over the applied steps.

    `gradient_norm` is the mean, `gradient_norm_max` the largest, before clipping; `learning_rate` is that of the last
    update of an optimizer's state.
    """
    counted = [step.metrics for step in steps if not step.metrics.skipped]
    values = {"skipped": float(len(steps) - len(counted))}
    if counted:
        weights = [float(m.weight) for m in counted]
        norms = [float(m.gradient_norm) for m in counted]
        values |= {
            "loss": sum(float(m.loss) * weight for m, weight in zip(counted, weights, strict=True)) / sum(weights),
            "gradient_norm": sum(norms) / len(norms),
            "gradient_norm_max": max(norms),
            "clipped": sum(bool(m.clipped) for m in counted) / len(counted),
            "learning_rate": last_rate(schedule, optimizer),
            f"{unit}_per_second": sum(float(step.metrics.weight) for step in steps) / seconds,
        }
        values |= {name: sum(float(m.figures[name]) for m in counted) / len(counted) for name in counted[0].figures}
    return values
