"""The residuals: what every method stores for the backward pass."""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.sequences import Sequences


class Projections(NamedTuple):
    """The projections `a = x W + b` and `r = h R`, as far as `combine` distinguishes them.

    Attributes:
      summed: `a + r` of the leading gates.
      a, r: both of them for `Cell.split_gates`.
    """

    summed: Array
    a: Array
    r: Array

    @classmethod
    def join(cls, cell: Cell, a: Array, r: Array, dtype: jnp.dtype) -> "Projections":
        """Stores two projections `[..., gates * hidden]` in `dtype`."""
        summed = a.shape[-1] - a.shape[-1] // len(cell.gates) * len(cell.split_gates)
        joined = cls(a[..., :summed] + r[..., :summed], a[..., summed:], r[..., summed:])
        return jax.tree.map(lambda v: v.astype(dtype), joined)

    def split(self) -> tuple[Array, Array]:
        """Returns an `a` and an `r` for which `combine` gives the same result as for the original ones."""
        a = jnp.concatenate([self.summed, self.a], axis=-1)
        return a, jnp.concatenate([jnp.zeros_like(self.summed), self.r], axis=-1)

    def split_gradient(self) -> tuple[Array, Array]:
        """Returns the gradients of `a` and of `r`, if this is the gradient of the stored projections."""
        return jnp.concatenate([self.summed, self.a], axis=-1), jnp.concatenate([self.summed, self.r], axis=-1)


class StepResiduals(NamedTuple):
    """The residuals of each step.

    Attributes:
      hidden: `h` after each step, `[time, batch, hidden]`.
      rest_before: the other entries of the state before each step; (): not stored.
      projections: the arguments of `combine`; (): not stored.
    """

    hidden: Array
    rest_before: State
    projections: Projections | tuple[()]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Joined:
    """The arrays `[..., k * hidden]` of a tree in one array: a loop over steps then writes one array in each step.

    Attributes:
      values: `[..., n, hidden]`; units have an axis of their own, so that they may be sharded.
      structure: of the tree.
      counts: the k of each array.
    """

    values: Array
    structure: Any = dataclasses.field(metadata={"static": True})
    counts: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, values: Any, hidden: int, dtype: jnp.dtype) -> "Joined":
        """Joins the arrays of a tree, and casts them to `dtype`."""
        leaves, structure = jax.tree.flatten(jax.tree.map(lambda v: v.astype(dtype), values))
        counts = tuple(leaf.shape[-1] // hidden for leaf in leaves)
        parts = [leaf.reshape(*leaf.shape[:-1], k, hidden) for leaf, k in zip(leaves, counts, strict=True)]
        return cls(jnp.concatenate(parts, axis=-2), structure, counts)

    def split(self) -> Any:
        """Returns the tree."""
        *lead, _, hidden = self.values.shape
        parts = jnp.split(self.values, list(itertools.accumulate(self.counts))[:-1], axis=-2)
        leaves = [part.reshape(*lead, k * hidden) for part, k in zip(parts, self.counts, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)


def split(values: Any) -> Any:
    """Returns the tree of `Joined` arrays, and other values as they are."""
    return values.split() if isinstance(values, Joined) else values


class Residuals(NamedTuple):
    """All that the backward pass needs.

    Attributes:
      params, given: the arguments of the scan.
      entered: the states between blocks, entries `[blocks, batch, hidden]`, if blocks are recomputed, else ().
      steps: the residuals of each step; None if blocks are recomputed.
    """

    params: Params
    given: Sequences
    entered: State
    steps: StepResiduals | Joined | None


class Block(NamedTuple):
    """Consecutive steps in the backward pass.

    Attributes:
      given: the sequences, cut to the steps of the block.
      hidden: `h` before each step of the block, `[block, batch, hidden]`.
      rows: the gradient of the outputs, and the residuals. They cover more steps than the block and are read in place,
        because copying a block would cost as much as using it.
      offset: the row of the first step of the block.
    """

    given: Sequences
    hidden: Array
    rows: tuple[Array, StepResiduals | Joined]
    offset: Array | int


class BlockGradients(NamedTuple):
    """The gradients that a block passes on.

    Attributes:
      before: of the state before the block.
      initial: of the initial state, through the segment starts of the block; None without segment starts.
      combine_params: of the parameters that `combine` reads.
      a, r: of the two projections, `[block, batch, gates * hidden]`.
    """

    before: State
    initial: State | None
    combine_params: Params
    a: Array
    r: Array


def before_each(first: Array, after: Array, reverse: bool) -> Array:
    """Returns an entry of the state before each step `[n, batch, hidden]`, from the first one and those after each."""
    parts = [after[1:], first[None]] if reverse else [first[None], after[:-1]]
    return jnp.concatenate([part.astype(after.dtype) for part in parts])[: after.shape[0]]


def after_each(before: Array, last: Array, reverse: bool) -> Array:
    """Returns an entry of the state after each step `[n, batch, hidden]`, from those before each and the last one."""
    return jnp.concatenate([last[None], before[:-1]] if reverse else [before[1:], last[None]])
