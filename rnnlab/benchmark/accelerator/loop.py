"""XLA's command buffers for loops on and off, and the kernels that a time step launches."""

import itertools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from rnnlab.benchmark.accelerator.layer import describe, measure_layers
from rnnlab.benchmark.accelerator.records import Case, Row

_FLAGS = {
    "as XLA chooses": "",
    "loops, too": "--xla_gpu_enable_command_buffer=+WHILE",
    "none": "--xla_gpu_enable_command_buffer=",
}
_SHAPES = ((64, 64, 256), (16, 1024, 128))
_CELLS = ("lstm", "gru")


def cases(tiny: bool) -> list[Case]:
    """Lists ours and the plain loop, for each setting of the command buffers."""
    buffers = list(_FLAGS)[:2] if tiny else list(_FLAGS)
    shapes, cells = (((2, 8, 8),), ("rnn",)) if tiny else (_SHAPES, _CELLS)
    return [
        describe(name, cell, shape, "float32", "training", command_buffers=buffer)
        for buffer, shape, cell, name in itertools.product(buffers, shapes, cells, ("rnnlab", "lax.scan"))
    ]


def environment(case: Case) -> dict[str, str]:
    """Returns the XLA flag, which is read when a process starts."""
    return {"XLA_FLAGS": _FLAGS[case["command_buffers"]]}


def measure(given: Sequence[Case], facts: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """Measures as described in `Part.measure`."""
    return measure_layers(given, facts, more=_kernels)


def _kernels(case: Case, layer: Any) -> Row:
    """Counts the kernels of a call, and of each of its time steps, with jax's profiler."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            layer.run()
        count = sum(_launches(path) for path in pathlib.Path(folder).rglob("*.xplane.pb"))
    if not count:
        return {"kernels": None, "kernels_per_step": None, "kernels_note": "the profiler saw no device"}
    return {"kernels": count, "kernels_per_step": count / case["length"]}


def _launches(path: pathlib.Path) -> int:
    """Returns events on the streams of a device: kernels and copies. A TPU has one line of operations instead."""
    found = 0
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        if plane.name.startswith("/device:"):
            lines = list(plane.lines)
            streams = [line for line in lines if line.name.startswith("Stream")]
            streams = streams or [line for line in lines if line.name == "XLA Ops"]
            found += sum(1 for line in streams for _ in line.events)
    return found
