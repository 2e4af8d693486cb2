"""Compiles one program for an accelerator that is not there, and reports on it."""

import pathlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec, use_abstract_mesh

from rnnlab.aot.hlo import Program, read_program
from rnnlab.aot.platforms import Target, cuda_folder, find_target, without_a_device
from rnnlab.errors import UserError
from rnnlab.scans import program_for

# also in a process that asks for less on its CPU, such as one of tests
_OPTIMISED: dict[str, Any] = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
_SPILLED = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


class Report(NamedTuple):
    """A compiled program.

    Attributes:
      program: its loops, kernels and collectives.
      argument_bytes, result_bytes, temporary_bytes: its memory on each device; donated arguments count as results, too.
      peak_bytes: all of them together, donated ones once.
      spilled_bytes: the most that a kernel spills from registers to memory; None where the compiler does not tell.
      seconds: CPU seconds to compile it, of all threads.
      text: the optimised HLO.
    """

    program: Program
    argument_bytes: int
    result_bytes: int
    temporary_bytes: int
    peak_bytes: int
    spilled_bytes: int | None
    seconds: float
    text: str


def compile_for(function: Callable, *arguments: Any, platform: str | Target, mesh: tuple[int, int] = (1, 1)) -> Report:
    """Compiles `function(*arguments)` for an accelerator.

    Args:
      function: traceable by `jax.jit`, or already its result.
      arguments: pytrees of arrays or of `jax.ShapeDtypeStruct`; those without a sharding over the target's mesh are
        replicated.
      platform: one of `PLATFORMS`, or a target whose mesh the arguments are sharded over.
      mesh: devices along `data` and along `model`, unless `platform` is a target.

    Raises:
      UserError: as `find_target`, or a program that needs more memory than a device has.
    """
    target = find_target(platform, mesh) if isinstance(platform, str) else platform
    lowered, gpu = lower_for(target, function, *arguments), target.platform.backend == "gpu"
    with tempfile.TemporaryDirectory() as folder, without_a_device():
        begun = time.process_time()
        dumped = {"xla_dump_to": folder} if gpu else {}
        try:
            compiled = lowered.compile(compiler_options={**_OPTIMISED, **target.platform.options(), **dumped})
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise UserError(
                "the program needs more memory than a device has; make the model or the batch smaller"
            ) from None
        seconds = time.process_time() - begun
        spilled = _spilled(pathlib.Path(folder)) if gpu else None
    memory: Any = compiled.memory_analysis()
    text = compiled.as_text() or ""
    sizes = (memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.temp_size_in_bytes)
    peak = sum(sizes) - memory.alias_size_in_bytes
    return Report(read_program(text), *sizes, peak, spilled, seconds, text)


def lower_for(target: Target, function: Callable, *arguments: Any) -> jax.stages.Lowered:
    """Lowers `function(*arguments)` to StableHLO for a target, with its plans; needs no package of an accelerator.

    Arguments as in `compile_for`.
    """
    placed = jax.tree.map(lambda leaf: _on(target, leaf), arguments)
    jitted = function if hasattr(function, "trace") else jax.jit(function)
    of_kernels = use_abstract_mesh(target.mesh.abstract_mesh)  # the devices that they are lowered for
    with program_for(target.platform.backend, devices=target.mesh.size), without_a_device(), of_kernels:
        return jitted.trace(*placed).lower(lowering_platforms=(target.platform.lowering,))


def _on(target: Target, leaf: Any) -> jax.ShapeDtypeStruct:
    aval, sharding = jax.typeof(leaf), getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.mesh != target.mesh:
        sharding = NamedSharding(target.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding)


def _spilled(folder: pathlib.Path) -> int:
    """Returns the most bytes that a kernel spills, of the PTX files that XLA dumped."""
    ptxas = str(cuda_folder() / "bin" / "ptxas")
    most = 0
    for path in (path for path in folder.glob("*.ptx") if path.stat().st_size):
        command = [ptxas, "-v", "--gpu-name", "sm_90a", str(path), "-o", "/dev/null"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        most = max([most, *(max(map(int, pair)) for pair in _SPILLED.findall(told))])
    return most
