"""Interventions by name, so that a config can ask for them: "chrono", "gaussian:1.5+flossing:100", "spectral:1"."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rnnlab.cells import Cell, Params
from rnnlab.gradient_flow.interventions import (
    RECURRENT_INITS,
    chrono_biases,
    draw_recurrent,
    limit_spectral_norm,
    set_gate_bias,
)

DEFAULT = "default"
_NUMBERLESS = dict.fromkeys(RECURRENT_INITS, 1.0) | {"chrono": 0.0}  # their default numbers
_NAMES = (*_NUMBERLESS, "forget", "spectral", "flossing", "penalty")


@dataclasses.dataclass(frozen=True)
class Treatment:
    """The interventions on a recurrence, in order; `steps` are pairs of a name and a number.

    orthogonal:g, identity:g, gaussian:g   a new R, with gain g (1)
    chrono:n                               biases for memories of up to n steps (by default those of the task)
    forget:b                               the bias of the memory gate (f of an LSTM, z of a GRU)
    spectral:s                             each gate's R limited to a spectral norm of s, after every step
    flossing:n                             n steps before training that bring Lyapunov exponents to 0
    penalty:w                              the same during training: w times the mean square of the exponents
    """

    steps: tuple[tuple[str, float], ...] = ()

    @classmethod
    def read(cls, text: str) -> "Treatment":
        """Parses names joined by "+", each with its number after a colon; "default" is no intervention.

        Raises:
          ValueError: an unknown name, or a missing or invalid number.
        """
        return cls(tuple(_read_step(word) for word in text.split("+") if word != DEFAULT))

    def start(self, cell: Cell, params: Params, key: PRNGKeyArray, *, longest: int) -> Params:
        """Returns initial parameters, based on those of `cell.init`; `longest` is the longest memory of the task.

        Raises:
          ValueError: an intervention for which the cell lacks a memory gate or a dense `R`.
        """
        for (name, number), step_key in zip(self.steps, jax.random.split(key, max(1, len(self.steps))), strict=False):
            if name in RECURRENT_INITS:
                params = draw_recurrent(cell, params, step_key, kind=name, gain=number)
            elif name == "chrono":
                params = chrono_biases(cell, params, step_key, longest=int(number) or longest)
            elif name == "forget":
                params = _set_forget_bias(cell, params, number)
        return self.constrain(cell, params)

    def constrain(self, cell: Cell, params: Params) -> Params:
        """Returns the parameters, projected onto the constraints that hold after every step."""
        for name, number in self.steps:
            if name == "spectral":
                params = limit_spectral_norm(cell, params, number)
        return params

    def missing(self, cell: Cell) -> str:
        """Returns what a cell lacks for these interventions: a memory gate, whose bias they set, or the dense `R` that
        they draw or limit."""
        names = {name for name, _ in self.steps}
        if {"chrono", "forget"} & names and not cell.memory_gates:
            return "a memory gate"
        if {*RECURRENT_INITS, "spectral"} & names and cell.recurrence != "dense":
            return "a dense R"
        return ""

    def fits(self, cell: Cell) -> bool:
        """Returns whether a cell supports these interventions."""
        return not self.missing(cell)

    @property
    def flossing_steps(self) -> int:
        """The number of flossing steps before training."""
        return int(self._sum("flossing"))

    @property
    def penalty(self) -> float:
        """The weight of the flossing penalty in training."""
        return self._sum("penalty")

    def _sum(self, wanted: str) -> float:
        return sum(number for name, number in self.steps if name == wanted)


def _read_step(word: str) -> tuple[str, float]:
    name, colon, number = word.partition(":")
    if name not in _NAMES:
        raise ValueError(f"unknown intervention {word!r}; allowed: {DEFAULT}, {', '.join(_NAMES)}, joined by +")
    if not colon and name in _NUMBERLESS:
        return name, _NUMBERLESS[name]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and (value > 0 or name == "forget")):
        raise ValueError(f"intervention {word!r}: {name} needs a number above 0 after a colon, such as {name}:2")
    return name, value


def _set_forget_bias(cell: Cell, params: Params, bias: float) -> Params:
    if not cell.memory_gates:
        raise ValueError(f"cell {cell.name!r} has no memory gate, so no forget bias")
    gate, sign = next(iter(cell.memory_gates.items()))
    return set_gate_bias(cell, params, gate, jnp.asarray(sign * bias))
