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
_NUMBERLESS = dict.fromkeys(RECURRENT_INITS, 1.0) | {"chrono": 0.0}  # what these take where no number is given
_NAMES = (*_NUMBERLESS, "forget", "spectral", "flossing", "penalty")


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What is done to a recurrence, in order; `steps` are pairs of a name and a number.

    orthogonal:g, identity:g, gaussian:g   R drawn anew, with gain g (1)
    chrono:n                               biases for memories of up to n steps (those of the task)
    forget:b                               the bias of the gate that keeps a memory (f of an LSTM, z of a GRU)
    spectral:s                             each gate's R held to a spectral norm of s, after every step
    flossing:n                             n steps that bring Lyapunov exponents to 0, before training
    penalty:w                              the same during training: w times the mean square of the exponents
    """

    steps: tuple[tuple[str, float], ...] = ()

    @classmethod
    def read(cls, text: str) -> "Treatment":
        """From names joined by "+", each with its number after a colon; "default" is none.

        Raises:
          ValueError: an unknown name, or a number that is missing or none.
        """
        return cls(tuple(_read_step(word) for word in text.split("+") if word != DEFAULT))

    def start(self, cell: Cell, params: Params, key: PRNGKeyArray, *, longest: int) -> Params:
        """Initial parameters, made of those that `cell.init` drew; `longest` is the longest memory of the task.

        Raises:
          ValueError: an intervention that the cell has no gate, or no dense `R`, for.
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
        """The parameters within what must hold after every step."""
        for name, number in self.steps:
            if name == "spectral":
                params = limit_spectral_norm(cell, params, number)
        return params

    def missing(self, cell: Cell) -> str:
        """Says what these interventions need of a cell that it does not have: a gate that keeps a memory, which they
        set, or the dense `R` that they draw or limit."""
        names = {name for name, _ in self.steps}
        if {"chrono", "forget"} & names and not cell.memory_gates:
            return "a gate that keeps a memory"
        if {*RECURRENT_INITS, "spectral"} & names and cell.recurrence != "dense":
            return "a dense R"
        return ""

    def fits(self, cell: Cell) -> bool:
        """Whether a cell has all that these interventions need."""
        return not self.missing(cell)

    @property
    def flossing_steps(self) -> int:
        """How many steps of flossing come before training."""
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
        raise ValueError(f"cell {cell.name!r} has no gate that keeps a memory, and so no forget bias")
    gate, sign = next(iter(cell.memory_gates.items()))
    return set_gate_bias(cell, params, gate, jnp.asarray(sign * bias))
