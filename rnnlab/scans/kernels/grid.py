"""The grid of a kernel: which rows, units and steps each program has, and how its steps follow each other.

The grid is (tiles of rows, parts of units, chunks of steps). Chunks run one after another on the same core, which keeps
what they carry in its memory. A single chunk carries it in registers.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl

from rnnlab.scans.product import at_least_float32


class Operands(NamedTuple):
    """The arguments or results of a kernel, as trees of arrays; None for a missing one.

    Attributes:
      steps: arrays `[time, batch, n * units]`, or `[time, batch, 1]`.
      rows: arrays `[batch, n * units]`.
      whole: arrays that every program reads whole.
    """

    steps: Any
    rows: Any
    whole: Any = ()


@dataclasses.dataclass(frozen=True)
class Grid:
    """The division of a scan among programs.

    Attributes:
      time, batch, units: its sizes.
      chunk, tile, part: the steps, rows and units of a program.
      backwards: whether the last step comes first.
    """

    time: int
    batch: int
    units: int
    chunk: int
    tile: int
    part: int
    backwards: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of tiles, parts and chunks."""
        return pl.cdiv(self.batch, self.tile), self.units // self.part, pl.cdiv(self.time, self.chunk)

    def units_of_program(self) -> "Units":
        """Returns the units of the program that calls it."""
        return Units(self.units, self.part, 0 if self.shape[1] == 1 else pl.program_id(1))

    def run(self, step: Callable[[Any, Any], Any], start: Any, held: tuple) -> Any:
        """Runs `step(at, carry)` for the steps of this program's chunk and returns the last carry.

        Args:
          step: `at` is the row of a step in the arrays of this chunk.
          start: the carry before the first chunk.
          held: the memory of the carry between chunks, one reference for each array; () for a single chunk.
        """
        carry, at_chunk = start, 0
        if held:
            _hold(held, start, pl.program_id(2) == 0)
            carry = jax.tree.unflatten(jax.tree.structure(start), [ref[...] for ref in held])
            at_chunk = self._chunk(pl.program_id(2))
        steps = (
            self.chunk if self.time % self.chunk == 0 else jnp.minimum(self.chunk, self.time - at_chunk * self.chunk)
        )
        carry = jax.lax.fori_loop(0, steps, lambda n, own: step(steps - 1 - n if self.backwards else n, own), carry)
        _hold(held, carry, True)
        return carry

    def _chunk(self, number: Any) -> Any:
        return self.shape[2] - 1 - number if self.backwards else number

    def spec_of_steps(self, array: Any) -> pl.BlockSpec:
        """Returns the division of an array of `Operands.steps`."""
        width = array.shape[2]
        return pl.BlockSpec((self.chunk, self.tile, width), lambda tile, _, chunk: (self._chunk(chunk), tile, 0))

    def spec_of_rows(self, array: Any) -> pl.BlockSpec:
        """Returns the division of an array of `Operands.rows`."""
        return pl.BlockSpec((self.tile, array.shape[1]), lambda tile, *_: (tile, 0))

    def spec_of_whole(self, array: Any, mode: pl.Buffered | None) -> pl.BlockSpec:
        """Returns the division of an array of `Operands.whole`; `mode` is that of the memory on a TPU."""
        return pl.BlockSpec(array.shape, lambda *_: (0,) * array.ndim, pipeline_mode=mode)


class Units(NamedTuple):
    """The units of a program.

    Attributes:
      units: the number of units of the cell.
      part: the number of units of the program.
      head: its place among the parts; it is the head of R if that has several.
    """

    units: int
    part: int
    head: Any

    def columns(self, gate: int) -> Any:
        """Returns the columns of these units in an array `[..., gates * units]`."""
        return pl.ds(gate * self.units + self.head * self.part, self.part)

    def read(self, ref: Any, *at: Any, gates: int = 1) -> tuple[Array, ...]:
        """Returns `ref[at]` of each gate `[rows, part]`, in at least float32."""
        found = (ref[(*at, slice(None), self.columns(gate))] for gate in range(gates))
        return tuple(own.astype(at_least_float32(own.dtype)) for own in found)

    def write(self, ref: Any, values: tuple[Array, ...], *at: Any) -> None:
        """Writes an array `[rows, part]` for each gate."""
        for gate, own in enumerate(values):
            ref[(*at, slice(None), self.columns(gate))] = own.astype(ref.dtype)

    def read_each(self, refs: Iterable[Any], *at: Any) -> tuple[Array, ...]:
        """Returns `ref[at]` of several arrays of one gate, such as the entries of a state."""
        return tuple(self.read(ref, *at)[0] for ref in refs)

    def write_each(self, refs: Iterable[Any], values: Iterable[Array], *at: Any) -> None:
        """Writes several arrays of one gate."""
        for ref, own in zip(refs, values, strict=True):
            self.write(ref, (own,), *at)


def _hold(held: tuple, carry: Any, when: Any) -> None:
    @pl.when(when)
    def _():
        for ref, value in zip(held, jax.tree.leaves(carry), strict=bool(held)):
            ref[...] = value
