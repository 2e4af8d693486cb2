"""Settings of the sequential scan, and their choice by cell, shape and device; `docs/scan.md` has the tables."""

import dataclasses
import math
import numbers

from rnnlab.cells import Cell
from rnnlab.scans.machine import platform_in_use

EXTENTS = ("step", "block")
# Rows (steps * batch) of one product of a block. Shorter blocks lose time to the loop around them; the residuals of
# longer ones no longer fit into the cache.
_ROWS = 2048
_SHORTEST_BLOCK = 64
_FEW_ROWS = 4


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of the sequential scan. They change its cost, not its results.

    Main arguments:
      block: the number of steps that share one product for the weight gradients, and for the input projection if
        `project` is "block". It must divide the number of steps, unless `recompute`, which pads them.
      recompute: store only the states between blocks, and run each block again in the backward pass.

    Other arguments:
      project: compute the input projection "step" by step inside the loop, or for a "block" of steps before it.
      pull: compute the gradients of the projections and of the parameters that `combine` reads "step" by step inside
        the backward loop, or for a "block" of steps after it. With "block" the loop computes only the gradient of the
        state, and `combine` is differentiated twice.
      unroll: the number of steps in one iteration of a loop, forward and backward, as in `jax.lax.scan`.

    Raises:
      ValueError: a block or an unroll below 1, or an unknown `project` or `pull`.
    """

    block: int
    project: str = "step"
    pull: str = "step"
    recompute: bool = False
    unroll: int = 1

    def __post_init__(self):
        for field in ("block", "unroll"):
            value = getattr(self, field)
            if is_known(value) and value < 1:
                raise ValueError(f"plan: {field} must be at least 1, not {value}")
        for field in ("project", "pull"):
            if getattr(self, field) not in EXTENTS:
                raise ValueError(f"plan: unknown {field} {getattr(self, field)!r}; allowed: {', '.join(EXTENTS)}")


def resolve_plan(cell: Cell, time: int, batch: int, *, device: str | None = None) -> Plan:
    """Returns the fastest plan measured for `time` steps of `batch` rows.

    One product for all steps pays if its result is small (a single gate), or if the product of a step would read its
    weights for a single row. Otherwise the projection stays inside the loop, so that its result is not written to
    memory and read again. With few rows the time of a loop grows with the number of operations in a step: without `R`
    (and so without a product) the loop does only what must be sequential, and a block of steps shares the rest. On
    accelerators there is one product before and one after the loop, as in cuDNN; this was not measured.

    Args:
      cell: the cell to run.
      time, batch: steps and rows. A symbolic batch counts as many rows, a symbolic time as one block.
      device: "cpu", "gpu" or "tpu"; None: the platform that the program is made for (`program_for`).
    """
    on_cpu = (device or platform_in_use()) == "cpu"
    rows = batch if is_known(batch) else _ROWS
    whole = max(time, 1) if is_known(time) else time
    extent = "block" if on_cpu and cell.recurrence == "none" and rows <= _FEW_ROWS else "step"
    if not on_cpu or len(cell.gates) == 1 or rows <= 1:
        return Plan(whole, project="block", pull=extent)
    block = _divisor_near(time, max(_SHORTEST_BLOCK, _ROWS // rows), default=whole) if is_known(time) else whole
    return Plan(block, project=extent, pull=extent)


def checkpoint_plan(cell: Cell, time: int, batch: int, every: int | str, *, device: str | None = None) -> Plan:
    """Returns the plan that stores every `every`-th state ("sqrt": about every sqrt(time)-th) and recomputes the rest.

    It takes the memory of time / every states and of one block (Chen et al. 2016, arXiv 1604.06174).

    Raises:
      ValueError: `every` is neither "sqrt" nor at least 1, or it is "sqrt" and the time is symbolic.
    """
    if every == "sqrt":
        if not is_known(time):
            raise ValueError(
                f"checkpoint_every must be a number of steps, not 'sqrt', where the time is symbolic ({time})"
            )
        root = math.isqrt(max(time, 1) - 1) + 1
        every = _divisor_near(time, root, default=root)  # another block would need padding, which costs a copy
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"checkpoint_every must be a number of steps from 1, or 'sqrt', not {every!r}")
    fastest = resolve_plan(cell, time, batch, device=device)
    return dataclasses.replace(fastest, block=max(1, min(every, time)) if is_known(time) else every, recompute=True)


def is_known(size: int) -> bool:
    """Returns whether a size is a number, not a symbolic dimension of `jax.export`: few of those can be compared."""
    return isinstance(size, numbers.Integral)


def _divisor_near(time: int, wanted: int, *, default: int) -> int:
    """Returns the divisor of `time` nearest to `wanted`, within a factor of 2; `default` without one."""
    near = [d for d in range((wanted + 1) // 2, 2 * wanted + 1) if time and time % d == 0]
    return min(near, key=lambda d: abs(math.log(d / wanted)), default=default)
