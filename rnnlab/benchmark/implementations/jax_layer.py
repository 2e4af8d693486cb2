"""A layer written in jax, built and run with each stage timed apart."""

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.benchmark.cases import Case

Stages = dict[str, float | int | None]
_drawn: weakref.WeakValueDictionary[tuple, jax.Array] = weakref.WeakValueDictionary()
_drawing = threading.Lock()


class JaxLayer:
    """A jax function and its arguments; `facts` may find out more about the case, after it was measured."""

    facts: Callable[[], dict[str, Any]] = dict

    def __init__(self, function: Callable, *arguments: Any):
        self._function, self._arguments = function, arguments

    def build(self) -> Stages:
        """Traces, lowers and compiles; returns the seconds of each, and what XLA says of the program."""
        started = time.perf_counter()
        traced = jax.jit(self._function).trace(*self._arguments)
        after_trace = time.perf_counter()
        lowered = traced.lower()
        after_lower = time.perf_counter()
        self._compiled = lowered.compile()
        memory, cost = self._compiled.memory_analysis(), self._compiled.cost_analysis()
        return {
            "trace_s": after_trace - started,
            "lower_s": after_lower - after_trace,
            "compile_s": time.perf_counter() - after_lower,
            "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
            "program_bytes": program_bytes(self._compiled),
            "xla_flops": (cost or {}).get("flops"),
        }

    def run(self) -> None:
        """Runs once, to the end."""
        jax.block_until_ready(self._compiled(*self._arguments))

    def device_peak_bytes(self) -> int | None:
        """The most memory in use on an accelerator so far; None on a CPU."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def program_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Bytes that a program takes while it runs, arguments and results included; None where XLA does not say."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return held + memory.temp_size_in_bytes


def layer_of(
    case: Case, layer: Callable[[Any, jax.Array], jax.Array], params: Any, *, batch_major: bool = False
) -> JaxLayer:
    """One case of a layer.

    Args:
      case: what to do.
      layer: `(params, inputs [time, batch, features]) -> outputs [time, batch, hidden]`.
      params: any pytree.
      batch_major: the layer takes and gives `[batch, time, ...]`.
    """
    params = jax.tree.map(lambda v: v.astype(case.dtype), params)
    inputs, d_outputs = (draw(case, name) for name in ("inputs", "d_outputs"))
    if batch_major:
        inputs, d_outputs = (jnp.swapaxes(values, 0, 1) for values in (inputs, d_outputs))
    if case.pass_ == "forward":
        return JaxLayer(layer, params, inputs)

    def training(params, inputs, d_outputs):
        outputs, pull = jax.vjp(layer, params, inputs)
        return outputs, pull(d_outputs.astype(outputs.dtype))

    return JaxLayer(training, params, inputs, d_outputs)


def draw(case: Case, name: str, width: int = 1) -> jax.Array:
    """Normal numbers `[time, batch, width * hidden]`, which depend on the name alone.

    Layers that are held at the same time share them: those of long sequences are gigabytes.
    """
    shape, dtype = (case.length, case.batch, width * case.hidden), jnp.dtype(case.dtype)
    with _drawing:
        if (found := _drawn.get((name, shape, dtype))) is None:
            key = jax.random.fold_in(jax.random.key(0), sum(name.encode()))
            found = _drawn[name, shape, dtype] = jax.random.normal(key, shape, dtype)
    return found
