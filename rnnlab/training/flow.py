"""How gradients flow through the recurrences of a seq2seq model: a little at an interval, everything on demand."""

import collections
import json
from collections.abc import Callable

import jax
import numpy as np
from jax import Array

from rnnlab.cells import CELLS, Cell
from rnnlab.data.corpus import Example
from rnnlab.data.pipeline import assemble
from rnnlab.gradient_flow import kaplan_yorke_dimension, lag_jacobians, lyapunov_exponents, step_gradients
from rnnlab.models.recurrent import Drive
from rnnlab.training.experiment import Experiment, open_corpus
from rnnlab.training.step import ModelParams, split_model

_SEQUENCES = 8
_SATURATED = 4.0  # |a + r| beyond which a sigmoid lies within 2 % of 0 or 1, and tanh within 0.1 % of +-1


class FlowProbe:
    """Measures each recurrence ("encoder/0/forward", "decoder/0") on a few pairs of equal lengths.

    Args:
      experiment: whose model to measure.
      examples: to take the pairs from; the lengths are those that most of them have.
    """

    def __init__(self, experiment: Experiment, examples: list[Example]):
        pairs = experiment.encode([example for example in examples if example.source])
        lengths = list(zip(pairs.sources.lengths.tolist(), pairs.targets.lengths.tolist(), strict=True))
        source, target = collections.Counter(lengths).most_common(1)[0][0]
        rows = [row for row, found in enumerate(lengths) if found == (source, target)][:_SEQUENCES]
        batch = assemble(pairs, rows, (source, target + 1), len(rows))
        self._merge, _ = split_model(experiment.make_model())
        self._pair = jax.device_put((batch.source, batch.inputs))
        model = experiment.config.model
        self._cells = {side: CELLS[model[side].cell] for side in ("encoder", "decoder")}
        self._measure = jax.jit(lambda params: self._over(params, _a_little))

    def measure(self, params: ModelParams) -> dict[str, float]:
        """Of each recurrence, averaged over the pairs:

        `exponent`, the largest Lyapunov exponent in nats per step; `early_share`, of the norms of
        d (sum of h_T) / d x_t over all steps, what falls on the first half of them; `saturated`, the share of gates
        beyond 4 or below -4 before their sigmoid or tanh.
        """
        found = jax.device_get(self._measure(params))
        return {f"{name}/{what}": float(v) for name, values in found.items() for what, v in values.items()}

    def measure_all(self, params: ModelParams) -> dict[str, dict[str, list]]:
        """Of each recurrence: every Lyapunov exponent, the Kaplan-Yorke dimension, and by lag the log norm of
        d h_T / d h_(T-lag), the log singular values of the state's Jacobian and its log condition number."""
        return jax.tree.map(lambda value: np.asarray(value).tolist(), self._over(params, _everything))

    def _over(self, params: ModelParams, look: Callable[[Cell, Drive], dict]):
        drives = self._merge(params).drives(*self._pair)
        return {name: look(self._cells[name.split("/")[0]], drive) for name, drive in drives.items()}


def measure_flow(experiment: Experiment, split: str) -> None:
    """Prints what flows through each recurrence of the best parameters, a line each, then all of it as one JSON object.

    Raises:
      UserError: a work directory without a whole checkpoint, a dataset without that split, or one out of reach.
    """
    _, params = experiment.best_params()
    found = FlowProbe(experiment, open_corpus(experiment.config).read(split)).measure_all(params)
    for name, values in found.items():
        largest, lag, norm = values["exponents"][0], values["lags"][-1], values["log_norms"][-1]
        print(
            f"{name:20s} largest exponent {largest:+.3f} nats a step, Kaplan-Yorke dimension "
            f"{values['dimension']:.1f}, log norm of dh_T / dh_(T-{lag}) {norm:+.2f} nats"
        )
    print(json.dumps(found))


def _a_little(cell: Cell, drive: Drive) -> dict[str, Array]:
    params, inputs, state = drive
    edges = np.array([-np.inf, -_SATURATED, _SATURATED, np.inf])
    steps = step_gradients(cell, params, inputs, lambda hidden: hidden[-1].sum(), state=state, edges=edges)
    exponents = lyapunov_exponents(cell, params, inputs, state=state, exponents=1)
    return {
        "exponent": exponents.mean(),
        "early_share": steps.inputs[: inputs.shape[0] // 2].sum() / steps.inputs.sum(),
        "saturated": 1 - steps.gates[:, 1].sum() / steps.gates.sum(),
    }


def _everything(cell: Cell, drive: Drive) -> dict:
    params, inputs, state = drive
    exponents = lyapunov_exponents(cell, params, inputs, state=state)
    jacobians = lag_jacobians(cell, params, inputs, lags=range(1, inputs.shape[0] + 1), state=state)
    return {
        "exponents": exponents.mean(0),
        "dimension": kaplan_yorke_dimension(exponents).mean(),
        "lags": jacobians.lags,
        "log_norms": jacobians.log_norms[:, :, 0, 0].mean(1),
        "log_singular_values": jacobians.log_singular_values.mean(1),
        "log_condition": jacobians.log_condition.mean(1),
    }
