"""A layer written in jax, built and run with each stage timed separately."""

import dataclasses
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rnnlab.benchmark.cases import Case

Stages = dict[str, float | int | None]
_drawn: weakref.WeakValueDictionary[tuple, jax.Array] = weakref.WeakValueDictionary()
_drawing = threading.Lock()


class Rows(NamedTuple):
    """The rows of a batch: inputs `[time, batch, features]` and, for unequal lengths, `seq_lengths` `[batch]` and
    `segment_starts` `[time, batch]`, as for `scan`."""

    inputs: jax.Array
    seq_lengths: jax.Array | None = None
    segment_starts: jax.Array | None = None


class JaxLayer:
    """A jax function and the arguments of its calls, one for each batch; `facts` may add figures after the
    measurement."""

    facts: Callable[[], dict[str, Any]] = dict

    def __init__(self, function: Callable, calls: Sequence[tuple]):
        self.function, self.calls = function, calls

    def build(self) -> Stages:
        """Traces, lowers and compiles for each shape of a batch.

        Returns:
          The seconds of each stage and the operations counted by XLA, for all shapes; the memory of the largest.
        """
        programs: dict[str, tuple[Any, Stages]] = {}
        self.compiled = []
        for arguments in self.calls:
            shapes = str(jax.tree.map(np.shape, arguments))
            if shapes not in programs:
                programs[shapes] = _compile(self.function, arguments)
            self.compiled.append(programs[shapes][0])
        found = [stages for _, stages in programs.values()]
        return {stage: _total(stage, [stages[stage] for stages in found]) for stage in found[0]}

    def run(self) -> None:
        """Runs all calls, each to its end."""
        for compiled, arguments in zip(self.compiled, self.calls, strict=True):
            jax.block_until_ready(compiled(*arguments))

    def device_peak_bytes(self) -> int | None:
        """Returns the peak memory on an accelerator so far; None on a CPU."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _compile(function: Callable, arguments: tuple) -> tuple[Any, Stages]:
    started = time.perf_counter()
    traced = jax.jit(function).trace(*arguments)
    after_trace = time.perf_counter()
    lowered = traced.lower()
    after_lower = time.perf_counter()
    compiled = lowered.compile()
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    return compiled, {
        "trace_s": after_trace - started,
        "lower_s": after_lower - after_trace,
        "compile_s": time.perf_counter() - after_lower,
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
        "program_bytes": program_bytes(compiled),
        "xla_flops": (cost or {}).get("flops"),
    }


def _total(stage: str, values: list) -> float | int | None:
    known = [value for value in values if value is not None]
    return (max if stage.endswith("bytes") else sum)(known) if known else None


def program_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Returns the bytes of a running program, including arguments and results; None if XLA does not report them."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return held + memory.temp_size_in_bytes


def layer_of(
    case: Case, layer: Callable[[Any, Rows], jax.Array], params: Any, *, batch_major: bool = False
) -> JaxLayer:
    """Builds one case of a layer, or of a stack of `case.layers` equal ones.

    Args:
      case: the case to build.
      layer: `(params, rows) -> outputs [time, batch, hidden]`.
      params: any pytree, of one layer.
      batch_major: inputs and outputs of the layer are `[batch, time, ...]`.
    """
    own = [jax.tree.map(lambda v: v.astype(case.dtype), params)] * case.layers
    calls: list[tuple] = [(own, *arguments) for arguments in _batches(case, batch_major)]

    def stack(params, rows):
        for each in params:
            rows = rows._replace(inputs=layer(each, rows))
        return rows.inputs

    def training(params, rows, d_outputs):
        outputs, pull = jax.vjp(lambda params, inputs: stack(params, rows._replace(inputs=inputs)), params, rows.inputs)
        return outputs, pull(d_outputs.astype(outputs.dtype))

    function, calls = (training, calls) if case.pass_ == "training" else (stack, [call[:2] for call in calls])
    return JaxLayer(function, calls) if case.devices == 1 else _divided(case, function, calls, batch_major)


def _divided(case: Case, function: Callable, calls: list[tuple], batch_major: bool) -> JaxLayer:
    """Does the same over several devices, each with its own rows; they sum the gradients of the parameters."""
    mesh = jax.make_mesh((case.devices,), ("batch",), axis_types=(AxisType.Auto,))
    rows = P("batch") if batch_major else P(None, "batch")
    given = (P(), rows, rows)[: len(calls[0])]

    def summed(*arguments):
        outputs, (d_params, d_inputs) = function(*arguments)
        return outputs, (jax.lax.psum(d_params, "batch"), d_inputs)

    trains = case.pass_ == "training"
    of_device, made = (summed, (rows, (P(), rows))) if trains else (function, rows)
    divided = jax.shard_map(of_device, mesh=mesh, in_specs=given, out_specs=made, check_vma=False)
    placed = tuple(NamedSharding(mesh, spec) for spec in given)
    return JaxLayer(divided, [jax.device_put(call, placed) for call in calls])


def _batches(case: Case, batch_major: bool) -> list[tuple[Rows, jax.Array]]:
    """Makes the rows of each batch, for all devices, and the gradients of its outputs, which are 0 in the padding."""
    case, made = dataclasses.replace(case, batch=case.batch * case.devices), []
    for batch in case.batches:
        inputs, d_outputs = (draw(case, name, time=batch.time) for name in ("inputs", "d_outputs"))
        lengths, starts = (None if own is None else jnp.asarray(own) for own in batch[1:])
        if lengths is not None:
            d_outputs = jnp.where((jnp.arange(batch.time)[:, None] < lengths)[..., None], d_outputs, 0)
        if batch_major:
            inputs, d_outputs = (jnp.swapaxes(values, 0, 1) for values in (inputs, d_outputs))
        given = Rows(inputs) if case.arrangement == "padded" else Rows(inputs, lengths, starts)
        made.append((given, d_outputs))
    return made


def draw(case: Case, name: str, width: int = 1, *, time: int | None = None) -> jax.Array:
    """Draws normal numbers `[time, batch, width * hidden]`, which depend only on the name; `time` None: the case's.

    Layers in memory at the same time share them: for long sequences they are gigabytes.
    """
    shape, dtype = (case.length if time is None else time, case.batch, width * case.hidden), jnp.dtype(case.dtype)
    with _drawing:
        if (found := _drawn.get((name, shape, dtype))) is None:
            key = jax.random.fold_in(jax.random.key(0), sum(name.encode()))
            found = _drawn[name, shape, dtype] = jax.random.normal(key, shape, dtype)
    return found
