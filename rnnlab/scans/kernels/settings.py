"""Settings of the fused kernels, and what each backend can take."""

import dataclasses

import jax.numpy as jnp

from rnnlab.cells import Cell
from rnnlab.scans.machine import platform_in_use
from rnnlab.scans.plan import is_known

BACKENDS = {"cpu": "interpret", "gpu": "triton", "tpu": "mosaic"}
_LEAST, _WIDEST = 16, 128  # units of a product on a GPU, at each step by one multiprocessor
_SEPARATE = 32  # of a program without products, whose units might as well be on other multiprocessors
_LANES, _MOST = 128, 1024  # on a TPU: numbers in a row of a register, and units whose R in bfloat16 fits into VMEM
_ROWS, _LARGEST_TILE = 16, 128


@dataclasses.dataclass(frozen=True)
class Pallas:
    """Settings of the fused kernels, which run all steps of a pass in one launch.

    Main arguments:
      tile: the number of rows of one program; the batch is padded to whole tiles. None: 16 on a GPU, the batch up to
        128 on a TPU, the batch in interpret mode.
      chunk: the number of steps whose arrays are in the memory of a program at the same time; it need not divide the
        time. None: all steps, but on a TPU as many as fit. A GPU has no chunks.

    Other arguments:
      backend: "triton" (GPU), "mosaic" (TPU), or "interpret": the kernel as jax operations, which any device can run,
        slowly, for tests. None: that of the device, "interpret" on a CPU.

    Raises:
      ValueError: a tile or a chunk below 1, or an unknown backend. What a backend cannot take is refused by `scan`.
    """

    tile: int | None = None
    chunk: int | None = None
    backend: str | None = None

    def __post_init__(self):
        for field in ("tile", "chunk"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"pallas: {field} must be at least 1, or None, not {value}")
        if self.backend not in (None, *BACKENDS.values()):
            allowed = ", ".join(BACKENDS.values())
            raise ValueError(f"pallas: unknown backend {self.backend!r}; allowed: {allowed}, or None")


def is_pointwise(cell: Cell) -> bool:
    """Returns whether a kernel can compute a cell: `combine` neither mixes units nor reads `R`."""
    return not cell.mixes_units and "R" not in cell.reads_params


def resolve_kernel(cell: Cell, settings: Pallas, time: int, batch: int, units: int, dtype: jnp.dtype) -> Pallas:
    """Returns the settings with a backend and a tile.

    Args:
      time, batch, units: sizes of the scan.
      dtype: of the weights.

    Raises:
      ValueError: the backend cannot take the cell, the sizes, the dtype or the settings; the message names what it can.
    """
    if not is_pointwise(cell):
        raise ValueError(
            f"method 'pallas' takes cells whose combine is pointwise in the units and reads no R; {cell.name!r} is not"
        )
    if not (is_known(time) and is_known(batch)):
        raise ValueError(f"method 'pallas' takes a known time and batch, not {time} and {batch}")
    platform = platform_in_use()
    resolved = dataclasses.replace(settings, backend=settings.backend or BACKENDS[platform])
    if resolved.backend not in ("interpret", BACKENDS[platform]):
        raise ValueError(
            f"pallas: backend {resolved.backend!r} cannot make a program for a {platform.upper()}; "
            f"allowed: {', '.join(dict.fromkeys((BACKENDS[platform], 'interpret')))}, or None"
        )
    if resolved.backend == "interpret":
        return dataclasses.replace(resolved, tile=settings.tile or batch)
    if dtype not in (jnp.float32, jnp.bfloat16):
        raise ValueError(f"method 'pallas' on an accelerator takes weights in float32 or bfloat16, not {dtype}")
    if resolved.backend == "triton":
        _check_triton(cell, resolved, units)
        return dataclasses.replace(resolved, tile=settings.tile or _LEAST)
    _check_mosaic(cell, resolved, units)
    return dataclasses.replace(resolved, tile=settings.tile or min(_LARGEST_TILE, -(-batch // _ROWS) * _ROWS))


def part_of(cell: Cell, settings: Pallas, units: int) -> int:
    """Returns the number of units of one program: those that share an `R`, or as many as a program holds."""
    if settings.backend == "mosaic" or cell.recurrence == "dense":
        return units
    if cell.recurrence in ("diagonal", "none"):
        return min(units & -units, _SEPARATE) if settings.backend == "triton" else units
    return units // cell.heads(units)


def _check_triton(cell: Cell, settings: Pallas, units: int) -> None:
    part, tile = part_of(cell, settings, units), settings.tile or _LEAST
    if not _LEAST <= part <= _WIDEST or part & (part - 1):
        of = f"a multiple of {_LEAST} units"
        if cell.recurrence not in ("diagonal", "none"):
            of = f"{_LEAST} to {_WIDEST} units in {'R' if cell.recurrence == 'dense' else 'a head'}, a power of two"
        raise ValueError(f"method 'pallas' on a GPU takes {of}; {cell.name!r} has {part} of {units} units")
    if tile < _LEAST or tile & (tile - 1):
        raise ValueError(f"pallas: tile must be a power of two from {_LEAST} on a GPU, not {tile}")
    if settings.chunk is not None:
        raise ValueError(f"pallas: chunk must be None on a GPU, not {settings.chunk}; a program runs all steps")


def _check_mosaic(cell: Cell, settings: Pallas, units: int) -> None:
    if cell.recurrence not in ("dense", "diagonal", "none"):
        raise ValueError(
            f"method 'pallas' on a TPU takes cells with a dense, a diagonal or no R; {cell.name!r} has heads"
        )
    if units % _LANES or units > _MOST:
        raise ValueError(f"method 'pallas' on a TPU takes a multiple of {_LANES} units, up to {_MOST}, not {units}")
    if settings.tile is not None and settings.tile % _ROWS:
        raise ValueError(f"pallas: tile must be a multiple of {_ROWS} on a TPU, not {settings.tile}")
