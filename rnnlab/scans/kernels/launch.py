"""The launch of a kernel on one of the backends."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from rnnlab.cells import Cell
from rnnlab.scans.kernels.grid import Grid, Operands
from rnnlab.scans.kernels.settings import Pallas, part_of

_NARROW = 32  # units that four warps share; eight share more, in whose registers all fits
_LANES = 128
_VMEM_OF_STEPS = 8 << 20  # bytes of the arrays of a chunk, of which the next one is read at the same time
_VMEM_OF_BODY = 16 << 20  # bytes for what a kernel computes between reading and writing

Body = Callable[[Grid, Operands, Operands, tuple], None]


def launch(
    body: Body,
    cell: Cell,
    settings: Pallas,
    given: Operands,
    wanted: Operands,
    *,
    name: str,
    backwards: bool,
    carried: int,
) -> Operands:
    """Runs a kernel over all steps in one launch.

    Args:
      body: `(grid, given, wanted, held) -> None`, with references in place of arrays.
      settings: those of `resolve_kernel`.
      given: the arguments; the first leaf of `rows` is `[batch, units]` in the dtype of the state.
      wanted: shapes and dtypes of the results, `steps` and `rows`.
      name: of the kernel, in profiles.
      backwards: whether the last step comes first.
      carried: the number of arrays, as wide as the state, that a chunk passes to the next one.

    Returns:
      The results.
    """
    state = jax.tree.leaves(given.rows)[0]
    grid = _grid(cell, settings, state.shape, jax.tree.leaves((given.steps, wanted.steps)), backwards)
    padding = -grid.batch % grid.tile
    given, wanted = _pad(given, padding, jnp.pad), _pad(wanted, padding, _wider)
    held = [] if grid.shape[2] == 1 else [_memory(grid, state.dtype)] * carried
    arrays, of_given = jax.tree.flatten(given)
    shapes, of_wanted = jax.tree.flatten(wanted)
    varying = jax.typeof(state).manual_axis_type  # as all of them inside `jax.shard_map`
    shapes = [jax.ShapeDtypeStruct(own.shape, own.dtype, manual_axis_type=varying) for own in shapes]

    def kernel(*refs):
        own, results = jax.tree.unflatten(of_given, refs[: len(arrays)]), refs[len(arrays) :]
        body(grid, own, jax.tree.unflatten(of_wanted, results[: len(shapes)]), results[len(shapes) :])

    kernel.__name__ = name  # what profiles show
    found = pl.pallas_call(
        kernel,
        shapes,
        grid=grid.shape,
        in_specs=_specs(grid, settings, given),
        out_specs=_specs(grid, settings, wanted),
        scratch_shapes=held,
        **_options(grid, settings, given, wanted),
    )(*arrays)
    return jax.tree.map(lambda v: v[..., : grid.batch, :], jax.tree.unflatten(of_wanted, found))


def _grid(cell: Cell, settings: Pallas, state: tuple[int, int], steps: list[Any], backwards: bool) -> Grid:
    (batch, units), time, tile = state, steps[0].shape[0], settings.tile or 1
    chunk = settings.chunk or time
    if settings.backend == "mosaic" and settings.chunk is None:
        chunk = _VMEM_OF_STEPS // (2 * tile * sum(map(_row_bytes, steps)))
    return Grid(time, batch, units, min(max(chunk, 1), time), tile, part_of(cell, settings, units), backwards)


def _pad(operands: Operands, padding: int, pad: Callable) -> Operands:
    """Adds rows to `steps` and `rows`."""
    if not padding:
        return operands
    steps = jax.tree.map(lambda v: pad(v, [(0, 0), (0, padding), (0, 0)]), operands.steps)
    return operands._replace(steps=steps, rows=jax.tree.map(lambda v: pad(v, [(0, padding), (0, 0)]), operands.rows))


def _wider(of: jax.ShapeDtypeStruct, widths: list[tuple[int, int]]) -> jax.ShapeDtypeStruct:
    return of.update(shape=tuple(size + after for size, (_, after) in zip(of.shape, widths, strict=True)))


def _specs(grid: Grid, settings: Pallas, operands: Operands) -> list[pl.BlockSpec]:
    once = pl.Buffered(1) if settings.backend == "mosaic" else None  # it is the same for every program
    of_steps, of_rows, of_whole = (jax.tree.leaves(own) for own in operands)
    return [
        *map(grid.spec_of_steps, of_steps),
        *map(grid.spec_of_rows, of_rows),
        *(grid.spec_of_whole(array, once) for array in of_whole),
    ]


def _memory(grid: Grid, dtype: jnp.dtype) -> Any:
    """Returns the memory of an array that a chunk passes to the next one; of a TPU, or its interpreted form."""
    from jax.experimental.pallas import tpu  # takes as long to import as all scans

    return tpu.VMEM((grid.tile, grid.part), dtype)


def _options(grid: Grid, settings: Pallas, given: Operands, wanted: Operands) -> dict[str, Any]:
    """Returns the options of `pl.pallas_call` that differ from one backend to another."""
    if settings.backend == "interpret":
        return {"interpret": True}
    if settings.backend == "triton":
        from jax.experimental.pallas import triton

        warps = 4 if grid.part <= _NARROW else 8
        return {"compiler_params": triton.CompilerParams(num_warps=warps, num_stages=1)}
    from jax.experimental.pallas import tpu

    blocks = grid.chunk * grid.tile * sum(_row_bytes(v) for v in jax.tree.leaves((given.steps, wanted.steps)))
    rows = grid.tile * sum(_row_bytes(v) for v in jax.tree.leaves((given.rows, wanted.rows)))
    whole = sum(v.size * v.dtype.itemsize for v in jax.tree.leaves(given.whole))
    memory = 2 * (blocks + rows) + whole + _VMEM_OF_BODY
    return {
        "compiler_params": tpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=memory
        )
    }


def _row_bytes(array: Any) -> int:
    """Returns the bytes of a row in VMEM, where it is a multiple of 128 numbers."""
    return pl.cdiv(array.shape[-1], _LANES) * _LANES * array.dtype.itemsize
