"""How the sequential scan is carried out: one resolver from cell, shape and device; `docs/scan.md` has the tables."""

import dataclasses
import math
import numbers

import jax

from rnnlab.cells import Cell

EXTENTS = ("step", "block")
# Rows (steps * batch) that one product of a block works on. Shorter blocks lose to the loop around them; longer ones to
# memory: what a block stores falls out of the cache.
_ROWS = 2048
_SHORTEST_BLOCK = 64
_FEW_ROWS = 4


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the sequential scan runs.

    Attributes:
      block: steps whose weight gradients, and input projection where `project` is "block", are one product each; it
        divides the number of steps.
      project: the input projection "step" by step inside the loop, or for a "block" of steps before them.
      pull: the gradients of the projections and of what `combine` reads of the parameters, "step" by step inside the
        backward loop, or for a "block" of steps after them: the loop then does the state's gradient only, and
        `combine` is differentiated twice.
      recompute: store only the states between blocks, and run each block again in the backward pass.
      unroll: steps that one round of a loop does, forward and backward, as in `jax.lax.scan`.

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
    """The fastest plan measured for `time` steps of `batch` rows on `device` ("cpu", "gpu", "tpu"; None: the default).

    One product for all steps pays where its result is small (a single gate) or where the product of a step would read
    its weights for a single row. Else the projection stays inside the loop, which spares its result the way to memory
    and back. Over few rows a loop takes as long as the number of things that it does: without a product of its own (no
    R) it then does what it alone can do, and the rest is left to the steps of a block together. Accelerators get one
    product before and after the loop, as cuDNN does it: not measured here. A symbolic batch counts as many rows, and a
    symbolic time is one block.
    """
    on_cpu = (device or jax.default_backend()) == "cpu"
    rows = batch if is_known(batch) else _ROWS
    whole = max(time, 1) if is_known(time) else time
    apart = "block" if on_cpu and cell.recurrence == "none" and rows <= _FEW_ROWS else "step"
    if not on_cpu or len(cell.gates) == 1 or rows <= 1:
        return Plan(whole, project="block", pull=apart)
    block = _divisor_near(time, max(_SHORTEST_BLOCK, _ROWS // rows), default=whole) if is_known(time) else whole
    return Plan(block, project=apart, pull=apart)


def checkpoint_plan(cell: Cell, time: int, batch: int, every: int | str, *, device: str | None = None) -> Plan:
    """The plan that keeps every `every`-th state ("sqrt": about every sqrt(time)-th) and recomputes the rest.

    Memory is then that of time / every states and of one block (Chen et al. 2016, arXiv 1604.06174).

    Raises:
      ValueError: `every` is neither "sqrt" nor at least 1, or "sqrt" of a symbolic time.
    """
    if every == "sqrt":
        if not is_known(time):
            raise ValueError(
                f"checkpoint_every must be a number of steps, not 'sqrt', where the time is symbolic ({time})"
            )
        root = math.isqrt(max(time, 1) - 1) + 1
        every = _divisor_near(time, root, default=root)  # another block would be padded, at the price of a copy
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"checkpoint_every must be a number of steps from 1, or 'sqrt', not {every!r}")
    fastest = resolve_plan(cell, time, batch, device=device)
    return dataclasses.replace(fastest, block=max(1, min(every, time)) if is_known(time) else every, recompute=True)


def is_known(size: int) -> bool:
    """Whether a size is a number, and not a symbolic dimension of `jax.export`: of those, few can be compared."""
    return isinstance(size, numbers.Integral)


def _divisor_near(time: int, wanted: int, *, default: int) -> int:
    """The divisor of `time` nearest to `wanted`, within a factor of 2; `default` where there is none."""
    near = [d for d in range((wanted + 1) // 2, 2 * wanted + 1) if time and time % d == 0]
    return min(near, key=lambda d: abs(math.log(d / wanted)), default=default)
