"""Gradient flow through the recurrences of a model: measured at intervals in training, and on demand."""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from rnnlab.cells import Cell
from rnnlab.gradient_flow import LagJacobians, kaplan_yorke_dimension, lag_jacobians, lyapunov_exponents
from rnnlab.gradient_flow.contributions import StepGradients, each_step
from rnnlab.printing import show, to_json
from rnnlab.scans.precision import exact_products
from rnnlab.tasks.base import ModelParams, Task
from rnnlab.training.placing import fetch
from rnnlab.training.step import split_model
from rnnlab.training.watch import Nudges, Record, no_nudges, recurrent_cells, watched

_TRACED = 1  # sequences with whole spectra in training
_EVERY_LAG = 2  # the same at every lag on demand: with a state of 512 numbers each takes half a second
_COLUMNS = ("exponent", "log_norm", "early_share", "saturated")  # of the table in the log
_MARGIN = 35  # columns for the names of recurrences, as wide as the start of a log line
_SATURATED = 4  # beyond this |a + r|, a sigmoid is within 2 % of 0 or 1, and tanh within 0.1 % of +-1


class Flow(NamedTuple):
    """Measurements of one recurrence, by name: numbers, vectors, and for each gate a histogram of `a + r` with bins
    `FlowProbe.edges`."""

    values: dict[str, Array]
    vectors: dict[str, Array]
    gates: dict[str, Array]


class FlowProbe:
    """Measures each recurrence, named as in `recurrent_cells`, on a few sequences of equal lengths.

    Args:
      task: the task of the model to measure.
      batch: sequences without padding, from `task.probe`.
      look: computes the result of `measure` for a recurrence, from its cell, record and `StepGradients`.
    """

    edges = np.arange(-8.0, 9.0)  # of the bins of the gates; the outermost bins are open

    def __init__(self, task: Task, batch: Any, look: Callable[..., Any] | None = None):
        self._merge, _ = split_model(task.sketch)
        self._loss = functools.partial(task.watched_loss, batch=jax.device_put(batch))
        self._measure = jax.jit(lambda params: self._over(params, look or _on_the_way))

    def measure(self, params: ModelParams) -> dict[str, Any]:
        """Measures each recurrence: returns the result of `look`, else a `Flow`, in which L is the mean loss, and norms
        and condition numbers are natural logs.

        Values: `exponent`, the largest Lyapunov exponent in nats per step; `dimension`, that of Kaplan and Yorke;
        `log_norm` of d h_T / d h_0, and `log_condition` of that of the whole state; `early_share` and
        `early_recurrent_share`, the shares of the first half of the steps in the norms of dL/dx_t and of the
        contributions to dL/dR; `saturated`, the share of gates above 4 or below -4 before their sigmoid or tanh.

        Vectors: all `exponents`; the `log_singular_values` of the state's Jacobian over all steps; by step
        `input_gradient` and `recurrent_gradient`, those norms.
        """
        return fetch(self._measure(params))

    def measure_all(self, params: ModelParams) -> Iterator[tuple[str, Flow]]:
        """Yields the same for one recurrence after another, with additional vectors by lag: `log_norms` of
        d h_T / d h_(T-lag), and `log_singular_values_by_lag` and `log_conditions` of the state's Jacobian."""
        found = jax.jit(self._watch)(params)
        for name, cell in recurrent_cells(self._merge(params)).items():
            yield name, jax.device_get(self._look(cell, _everything, *found[name]))

    def _over(self, params: ModelParams, look: Callable[..., Any]) -> dict[str, Any]:
        found, cells = self._watch(params), recurrent_cells(self._merge(params))
        return {name: self._look(cell, look, *found[name]) for name, cell in cells.items()}

    @exact_products
    def _watch(self, params: ModelParams) -> dict[str, tuple[Record, Array, Nudges]]:
        """Returns the record of each recurrence, the loss, and the gradient of the loss at each step."""

        def loss(nudges):
            return watched(self._loss, self._merge(params), nudges)

        still = no_nudges(self._loss, self._merge(params))
        (value, records), gradients = jax.value_and_grad(loss, has_aux=True)(still)
        return {name: (record, value, gradients[name]) for name, record in records.items()}

    @exact_products
    def _look(self, cell: Cell, look: Callable[..., Any], record: Record, loss: Array, gradients: Nudges) -> Any:
        return look(cell, record, each_step(cell, record.trajectory, loss, *gradients, edges=self.edges))


def flow_table(flows: Mapping[str, Flow]) -> str:
    """Returns the main measurements as a table: the names of the columns, then a line for each recurrence.

    The first line is meant to follow `_MARGIN` columns of a log line.
    """
    lines = ["".join(f"  {name}" for name in _COLUMNS)]
    for recurrence, flow in flows.items():
        numbers = (f" {float(flow.values[name]):>{len(name) + 1}.3g}" for name in _COLUMNS)
        lines.append(f"{recurrence:<{_MARGIN}}{''.join(numbers)}")
    return "\n".join(lines)


def measure_flow(task: Task, params: ModelParams, split: str) -> None:
    """Prints the gradient flow of each recurrence, a line as soon as it is known, then all as one JSON object, which is
    too long for a terminal and therefore omitted there.

    Raises:
      UserError: the data have no such split, or are not available.
    """
    task.check_split(split)
    plain = {}
    for name, flow in FlowProbe(task, task.probe(split)).measure_all(params):
        show(
            f"{name:20s} largest exponent {flow.values['exponent']:+.3f} nats per step, Kaplan-Yorke dimension "
            f"{flow.values['dimension']:.1f}, log norm of dh_T / dh_(T-{len(flow.vectors['log_norms'])}) "
            f"{flow.values['log_norm']:+.2f} nats"
        )
        plain[name] = flow.values | flow.vectors | {"gates": flow.gates}
    if not sys.stdout.isatty():
        show(to_json(jax.tree.map(lambda value: value.tolist(), plain)))


def _on_the_way(cell, record: Record, steps: StepGradients) -> Flow:
    inputs, state = record.inputs[:, :_TRACED], tuple(entry[:_TRACED] for entry in record.state)
    jacobians = lag_jacobians(cell, record.params, inputs, lags=[inputs.shape[0]], state=state)
    return _flow(cell, record.params, inputs, state, steps, jacobians)


def _everything(cell, record: Record, steps: StepGradients) -> Flow:
    params, inputs, state = record.params, record.inputs[:, :_EVERY_LAG], tuple(s[:_EVERY_LAG] for s in record.state)
    jacobians = lag_jacobians(cell, params, inputs, lags=range(1, inputs.shape[0] + 1), state=state)
    flow = _flow(cell, params, inputs, state, steps, jacobians)
    by_lag = {
        "log_norms": jacobians.log_norms[:, :, 0, 0].mean(1),
        "log_singular_values_by_lag": jacobians.log_singular_values.mean(1),
        "log_conditions": jacobians.log_condition.mean(1),
    }
    return flow._replace(vectors=flow.vectors | by_lag)


def _flow(cell, params, inputs: Array, state, steps: StepGradients, jacobians: LagJacobians) -> Flow:
    """Collects the results of both measurements; the last lag of `jacobians` is the whole sequence."""
    exponents = lyapunov_exponents(cell, params, inputs, state=state)
    low, high = (int(np.searchsorted(steps.edges, edge)) for edge in (-_SATURATED, _SATURATED))
    input_gradient = steps.inputs.mean(1)
    values = {
        "exponent": exponents[:, 0].mean(),
        "dimension": kaplan_yorke_dimension(exponents).mean(),
        "log_norm": jacobians.log_norms[-1, :, 0, 0].mean(),
        "log_condition": jacobians.log_condition[-1].mean(),
        "early_share": early_share(input_gradient),
        "early_recurrent_share": early_share(steps.recurrent),
        "saturated": 1 - steps.gates[:, low:high].sum() / steps.gates.sum(),
    }
    vectors = {
        "exponents": exponents.mean(0),
        "log_singular_values": jacobians.log_singular_values[-1].mean(0),
        "input_gradient": input_gradient,
        "recurrent_gradient": steps.recurrent,
    }
    return Flow(values, vectors, dict(zip(cell.gates, steps.gates, strict=True)))


def early_share(norms: Array) -> Array:
    """Computes the share of the first half of the steps in norms `[time]`."""
    return norms[: len(norms) // 2].sum() / norms.sum()
