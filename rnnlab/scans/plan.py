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
_UNROLL = 4  # on accelerators: the loop's counter and the writing of residuals are a kernel each for so many steps


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
      joined: store the residuals of a step as one array `[batch, n, hidden]` in the dtype of the outputs, for devices
        on which each array that a loop writes costs a kernel. With weights narrower than float32 the whole state is
        then rounded where it is stored, not only `h`.
      ahead: compute before a loop, for a block of steps, what does not depend on the carry: forward what `combine`
        makes of the input projection alone, backward the derivatives of `combine`. This takes the memory of these
        derivatives; it is for cells that sum over units (layer norm), where each sum is a kernel.

    Raises:
      ValueError: a block or an unroll below 1, an unknown `project` or `pull`, or `ahead` without both in blocks.
    """

    block: int
    project: str = "step"
    pull: str = "step"
    recompute: bool = False
    unroll: int = 1
    joined: bool = False
    ahead: bool = False

    def __post_init__(self):
        for field in ("block", "unroll"):
            value = getattr(self, field)
            if is_known(value) and value < 1:
                raise ValueError(f"plan: {field} must be at least 1, not {value}")
        for field in ("project", "pull"):
            if getattr(self, field) not in EXTENTS:
                raise ValueError(f"plan: unknown {field} {getattr(self, field)!r}; allowed: {', '.join(EXTENTS)}")
        if self.ahead and (self.project, self.pull) != ("block", "block"):
            raise ValueError("plan: ahead requires project='block' and pull='block'")


def resolve_plan(cell: Cell, time: int, batch: int, *, device: str | None = None) -> Plan:
    """Returns the fastest plan measured for `time` steps of `batch` rows.

    One product for all steps pays if its result is small (a single gate), or if the product of a step would read its
    weights for a single row. Otherwise the projection stays inside the loop, so that its result is not written to
    memory and read again. With few rows the time of a loop grows with the number of operations in a step: without `R`
    (and so without a product) the loop does only what must be sequential, and a block of steps shares the rest. On
    accelerators the plan is the one with the fewest kernels per step, and there is one product before and one after the
    loop, as in cuDNN; its time was not measured.

    Args:
      cell: the cell to run.
      time, batch: steps and rows. A symbolic batch counts as many rows, a symbolic time as one block.
      device: "cpu", "gpu" or "tpu"; None: the platform that the program is made for (`program_for`).
    """
    device = device or platform_in_use()
    rows = batch if is_known(batch) else _ROWS
    whole = max(time, 1) if is_known(time) else time
    extent = "block" if cell.recurrence == "none" and rows <= _FEW_ROWS else "step"
    if device != "cpu":
        return _fewest_kernels(cell, time, whole, joined=device == "gpu")
    if len(cell.gates) == 1 or rows <= 1:
        return Plan(whole, project="block", pull=extent)
    block = _divisor_near(time, max(_SHORTEST_BLOCK, _ROWS // rows), default=whole) if is_known(time) else whole
    return Plan(block, project=extent, pull=extent)


def _fewest_kernels(cell: Cell, time: int, whole: int, *, joined: bool) -> Plan:
    """Returns the plan for accelerators; a TPU's compiler needs more kernels for joined residuals, not fewer."""
    known = is_known(time)
    # Derivatives ahead of the loop take much memory: that of a block.
    block = _divisor_near(time, _SHORTEST_BLOCK, default=whole) if cell.mixes_units and known else whole
    unroll = _UNROLL if known else 1
    return Plan(block, project="block", pull="block", unroll=unroll, joined=joined, ahead=cell.mixes_units)


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
