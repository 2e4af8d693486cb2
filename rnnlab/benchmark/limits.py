"""The limits of the machine: its largest product, its fastest copy, and the empty step of a loop."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.timing import Times, time_in_turn

_STEPS, _STATE = 10_000, 1024


def measure_limits(
    dtype: str, *, side: int = 2048, numbers: int = 2**26, steps: int = _STEPS, precision: str | None = None
) -> dict[str, Any]:
    """Measures operations and bytes per second, and seconds per empty step, each the best of several runs.

    Args:
      dtype: of all numbers.
      side: of the two square matrices to multiply.
      numbers: the amount to copy.
      steps: of the empty loop.
      precision: of the product, as in `jax.default_matmul_precision`.
    """
    square = jax.random.normal(jax.random.key(0), (side, side), dtype)
    copied = jax.random.normal(jax.random.key(1), (max(numbers, steps * _STATE),), dtype)
    start = copied[:_STATE]

    @jax.jit
    def loop(start, numbers):
        # with a smaller state, or nothing to read, XLA does not compile a loop of kernels
        return jax.lax.scan(lambda s, x: (s + x, None), start, numbers[:steps])[0]

    product = _times(jax.jit(functools.partial(jnp.matmul, precision=precision)), square, square).best
    return {
        "flops_per_s": 2 * side**3 / product,
        "copied_bytes_per_s": 2 * copied.nbytes / _times(jax.jit(jnp.negative), copied).best,
        "empty_step_s": _times(loop, start, copied).best / steps,
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
    }


def _times(function, *arguments, repeats: int = 9) -> Times:
    return time_in_turn({0: lambda: jax.block_until_ready(function(*arguments))}, repeats=repeats)[0]
