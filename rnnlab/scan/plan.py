"""How the sequential scan is carried out: one resolver from cell, shape and device; `docs/scan.md` has the tables."""

import dataclasses
import math

import jax

PROJECTIONS = ("step", "block")
# Rows (steps * batch) of the products that are done for a block of steps at once: below, a product is slow for its
# size; above, what one block stores falls out of the cache.
_ROWS = 512
_SHORTEST_BLOCK = 8
# Up to this batch the recurrent product reads its weights once per row, so that a projection for many steps at once is
# the cheaper one; above, storing that projection and reading it again costs more than it saves.
_SMALL_BATCH = 4


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


def resolve_plan(time: int, batch: int, *, device: str | None = None) -> Plan:
    """The fastest plan measured for `time` steps of `batch` rows on `device` ("cpu", "gpu", "tpu"; None: the default).

    Accelerators get one product for all steps, before and after the loop, as cuDNN does it: not measured here.
    """
    if (device or jax.default_backend()) != "cpu":
        return Plan(max(time, 1), project="block")
    project = "block" if batch <= _SMALL_BATCH else "step"
    return Plan(_divisor_near(time, max(_SHORTEST_BLOCK, _ROWS // max(batch, 1))), project)


def checkpoint_plan(time: int, batch: int, every: int | str, *, device: str | None = None) -> Plan:
    """The plan that keeps the state of every `every`-th step ("sqrt": every sqrt(time)-th) and recomputes the rest.

    Memory is then that of time / every states and of one block (Chen et al. 2016, arXiv 1604.06174).

    Raises:
      ValueError: `every` is neither "sqrt" nor at least 1.
    """
    if every == "sqrt":
        every = math.isqrt(max(time, 1) - 1) + 1
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"checkpoint_every must be a number of steps from 1, or 'sqrt', not {every!r}")
    fastest = resolve_plan(time, batch, device=device)
    return Plan(max(1, min(every, time)), fastest.project, recompute=True)


def _divisor_near(time: int, wanted: int) -> int:
    """The divisor of `time` nearest to `wanted`, within a factor of 2; `time` itself where there is none."""
    near = [d for d in range((wanted + 1) // 2, 2 * wanted + 1) if time and time % d == 0]
    return min(near, key=lambda d: abs(math.log(d / wanted)), default=max(time, 1))
