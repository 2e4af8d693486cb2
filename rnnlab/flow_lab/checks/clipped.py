"""Checks and figures on training with gradient clipping."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.table import Table, draw_curve
from rnnlab.flow_lab.verdicts import MOST, Check, above, always, below

_ROUNDING = 1e-6  # of the cosine of two equal directions in float32
_GAIN = 0.1  # share of the floor by which a loss must fall for an intervention to have helped


def check_explosion(table: Table) -> list[Check]:
    """Checks that runs with clipping stay finite and learn."""
    found = []
    for lag in table.different("explosion", "lag"):
        without = intervals.share([not d for d in table.values("explosion", "diverged", clipping="none", lag=lag)])
        for clipping in table.different("explosion", "clipping"):
            if clipping == "none":
                continue
            finite = [not d for d in table.values("explosion", "diverged", clipping=clipping, lag=lag)]
            label = f"{clipping}, T = {lag}: share of runs that stay finite; without clipping: {without.text(2)}"
            found.append(above(label, intervals.share(finite), MOST))
            losses = intervals.mean(table.values("explosion", "final_loss", clipping=clipping, lag=lag))
            found.append(below(f"{clipping}, T = {lag}: loss learnt", losses, table.floor("explosion", lag)))
    return found


def draw_explosion(table: Table, axes: Axes) -> None:
    """Plots the gradient's norm over training."""
    for clipping in table.different("explosion", "clipping"):
        draw_curve(axes, table.of("explosion", "gradient_norm", clipping=clipping), clipping)
    axes.set(xlabel="training step", ylabel="largest gradient norm of 50 steps", yscale="log")


def check_vanishing(table: Table) -> list[Check]:
    """Checks that clipping lowers the loss where the gradient vanishes."""
    found = []
    for lag in table.different("vanishing", "lag"):
        floor = table.floor("vanishing", lag)
        without = np.array(table.values("vanishing", "final_loss", clipping="none", lag=lag))
        for clipping in table.different("vanishing", "clipping"):
            if clipping != "none":
                with_it = np.array(table.values("vanishing", "final_loss", clipping=clipping, lag=lag))
                if len(with_it) != len(without):  # nothing to compare it with
                    continue
                gain = intervals.mean((without - with_it) / floor)
                label = f"{clipping}, T = {lag}: reduction of the loss against no clipping, relative to the floor"
                found.append(above(label, gain, _GAIN))
    return found


def draw_vanishing(table: Table, axes: Axes) -> None:
    """Plots the share of the early steps in the gradient."""
    for lag in table.different("vanishing", "lag"):
        for clipping in table.different("vanishing", "clipping"):
            draw_curve(axes, table.of("vanishing", "early_share", clipping=clipping, lag=lag), f"{clipping}, T = {lag}")
    axes.set(xlabel="training step", ylabel="share of |dL/dx| in the first half", yscale="log")


def check_direction(table: Table) -> list[Check]:
    """Checks, for each clipping, that every gradient that it shortens keeps its direction."""
    found = []
    for clipping in table.different("direction", "clipping"):
        cosines, norms, clipped = (
            table.values("direction", name, clipping=clipping) for name in ("cosine", "norm", "clipped_norm")
        )
        of_shorter = [
            cosine for cosine, norm, less in zip(cosines, norms, clipped, strict=True) if less < norm * (1 - _ROUNDING)
        ]
        if of_shorter:
            label = f"{clipping}: cosine between the gradient and the clipped one is 1; least: {min(of_shorter):.4f}"
            found.append(always(label, [cosine > 1 - _ROUNDING for cosine in of_shorter]))
    return found


def draw_direction(table: Table, axes: Axes) -> None:
    """Plots the cosine against the share of the norm that is left."""
    for kind, marker in (("norm", "o"), ("value", "^")):
        names = [name for name in table.different("direction", "clipping") if name.startswith(kind)]
        points = [
            (after / before, cosine)
            for name in names
            for cosine, before, after in zip(
                *(table.values("direction", q, clipping=name) for q in ("cosine", "norm", "clipped_norm")), strict=True
            )
        ]
        if points:
            shares, cosines = zip(*points, strict=True)
            axes.scatter(shares, cosines, s=14, marker=marker, label=f"clipped by {kind}")
    axes.set(xlabel="norm of the clipped gradient, relative to the gradient's", ylabel="cosine between both")
    axes.set_xscale("log")
