"""How the sequential scan is carried out: one resolver from cell, shape and device; `docs/scan.md` has the tables."""

import dataclasses
import math

import jax

from rnnlab.cells import Cell

PROJECTIONS = ("step", "block")
# Rows (steps * batch) that one product of a block works on. Shorter blocks lose to the loop around them; longer ones to
# memory: what a block stores falls out of the cache.
_ROWS = 2048
_SHORTEST_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the sequential scan runs.

    Attributes:
      block: steps whose weight gradients, and input projection where `project` is "block", are one product each; it
        divides the number of steps.
      project: the input projection "step" by step inside the loop, or for a "block" of steps before them.
      recompute: store only the states between blocks, and run each block again in the backward pass.

    Raises:
      ValueError: a block below 1, or an unknown `project`.
    """

    block: int
    project: str = "step"
    recompute: bool = False

    def __post_init__(self):
        if self.block < 1:
            raise ValueError(f"plan: block must be at least 1, not {self.block}")
        if self.project not in PROJECTIONS:
            raise ValueError(f"plan: unknown project {self.project!r}; allowed: {', '.join(PROJECTIONS)}")


def resolve_plan(cell: Cell, time: int, batch: int, *, device: str | None = None) -> Plan:
    """The fastest plan measured for `time` steps of `batch` rows on `device` ("cpu", "gpu", "tpu"; None: the default).

    One product for all steps pays where its result is small (a single gate) or where the product of a step would read
    its weights for a single row. Else the projection stays inside the loop, which spares its result the way to memory
    and back. Accelerators get one product before and after the loop, as cuDNN does it: not measured here.
    """
    on_cpu = (device or jax.default_backend()) == "cpu"
    if not on_cpu or len(cell.gates) == 1 or batch <= 1:
        return Plan(max(time, 1), project="block")
    return Plan(_divisor_near(time, max(_SHORTEST_BLOCK, _ROWS // batch), default=max(time, 1)))


def checkpoint_plan(cell: Cell, time: int, batch: int, every: int | str, *, device: str | None = None) -> Plan:
    """The plan that keeps every `every`-th state ("sqrt": about every sqrt(time)-th) and recomputes the rest.

    Memory is then that of time / every states and of one block (Chen et al. 2016, arXiv 1604.06174).

    Raises:
      ValueError: `every` is neither "sqrt" nor at least 1.
    """
    if every == "sqrt":
        root = math.isqrt(max(time, 1) - 1) + 1
        every = _divisor_near(time, root, default=root)  # another block would be padded, at the price of a copy
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"checkpoint_every must be a number of steps from 1, or 'sqrt', not {every!r}")
    fastest = resolve_plan(cell, time, batch, device=device)
    return Plan(max(1, min(every, time)), fastest.project, recompute=True)


def _divisor_near(time: int, wanted: int, *, default: int) -> int:
    """The divisor of `time` nearest to `wanted`, within a factor of 2; `default` where there is none."""
    near = [d for d in range((wanted + 1) // 2, 2 * wanted + 1) if time and time % d == 0]
    return min(near, key=lambda d: abs(math.log(d / wanted)), default=default)
