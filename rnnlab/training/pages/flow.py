"""The gradient flow of a run: exponents and norms of each recurrence over training, and histograms of its gates."""

from typing import TYPE_CHECKING

import numpy as np

from rnnlab.page import figures, paragraph
from rnnlab.pictures import drawn
from rnnlab.training.flow import FlowProbe
from rnnlab.training.pages.files import RunFiles
from rnnlab.training.plots import Curves, Points, draw_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUANTITIES = {
    "exponent": "largest Lyapunov exponent (nats per step)",
    "log_norm": "log norm of d h_T / d h_0 (nats)",
    "early_share": "share of the first half of the steps in the gradient",
    "saturated": "share of saturated gates",
}
_HOW_TO_READ = (
    "Over k steps the gradient changes by about exp(k x the largest Lyapunov exponent): below 0 it shrinks, near 0 it "
    "survives, above 0 it grows. The log norm is this change over a whole sequence: at -5 the gradient has shrunk "
    "150-fold, and has vanished for practical purposes; at 0 it has kept its size."
)
_STEPS = 5  # training steps whose gradient norms are drawn over each other
_NOT_MEASURED = (
    "Not measured: set config.training.measure_every to measure each recurrence in training; --mode=flow measures the "
    "best parameters now."
)


def flow_body(run: RunFiles) -> str:
    """Returns the section on the gradient flow: curves over training, then the gradient norms by time step."""
    by_quantity = _by_quantity(run.curves)
    if not by_quantity:
        return paragraph(_NOT_MEASURED, style="missing")
    found = []
    for quantity, title in _QUANTITIES.items():
        if lines := by_quantity.get(quantity):
            found += drawn(title, draw_panel, "", lines)
    for name, by_step in run.vectors.items():
        recurrence, _, what = name.rpartition("/")
        if what == "input_gradient":
            title = f"{recurrence}: log norm of dL/dx_t at each time step, early in training (light) to late (dark)"
            found += drawn(title, _draw_norms, by_step)
    return paragraph(_HOW_TO_READ) + figures(found)


def gates_body(run: RunFiles) -> str:
    """Returns the section on the gates: a histogram for each recurrence, at the last measurement."""
    gates: dict[str, dict[str, list[float]]] = {}
    for name, by_step in run.vectors.items():
        recurrence, _, what = name.rpartition("/")
        if what.startswith("gate_"):
            gates.setdefault(recurrence, {})[what.removeprefix("gate_")] = by_step[max(by_step)]
    if not gates:
        return paragraph(_NOT_MEASURED, style="missing")
    found = []
    for recurrence, counts in gates.items():
        title = f"{recurrence}: pre-activations a + r of its gates, at the last measurement"
        found += drawn(title, _draw_gates, counts)
    return figures(found)


def _by_quantity(curves: Curves) -> dict[str, dict[str, Points]]:
    """Returns the curves of each recurrence, by quantity."""
    found: dict[str, dict[str, Points]] = {}
    for name, by_split in curves.items():
        recurrence, _, quantity = name.rpartition("/")
        if recurrence and "flow" in by_split:
            found.setdefault(quantity, {})[recurrence] = by_split["flow"]
    return found


def _draw_norms(axis: "Axes", by_step: dict[int, list[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = sorted(by_step)
    chosen = np.unique(np.linspace(0, len(steps) - 1, _STEPS).astype(int)).tolist()
    for place, shade in zip(chosen, np.linspace(0.35, 1, len(chosen)), strict=True):
        with np.errstate(divide="ignore"):  # a gradient that is 0 is a gap
            norms = np.log(by_step[steps[place]])
        axis.plot(range(1, len(norms) + 1), norms, color="tab:blue", alpha=shade, label=f"step {steps[place]:,}")
    axis.set(xlabel="time step", ylabel="log norm (nats)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")


def _draw_gates(axis: "Axes", counts: dict[str, list[float]]) -> None:
    for gate, own in counts.items():
        axis.stairs(np.array(own) / max(1, sum(own)), FlowProbe.edges, label=gate, linewidth=1.5)
    axis.set(xlabel="a + r (the outermost bins are open)", ylabel="share")
    axis.grid(alpha=0.3)
    axis.legend(title="gate", fontsize="small")
