"""What the machine can do at most: its largest product, its fastest copy, and the step of a loop that does nothing."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.timing import Times, time_in_turn

_STEPS, _STATE = 10_000, 1024


def measure_limits(
    dtype: str, *, side: int = 2048, numbers: int = 2**26, steps: int = _STEPS, precision: str | None = None
) -> dict[str, Any]:
    """Measures operations and bytes per second, and seconds per empty step, each the best of several.

    Args:
      dtype: of all numbers.
      side: of the two square matrices that are multiplied.
      numbers: that are copied.
      steps: of the empty loop.
      precision: of the product, as `jax.default_matmul_precision` takes it.
    """
    square = jax.random.normal(jax.random.key(0), (side, side), dtype)
    copied = jax.random.normal(jax.random.key(1), (max(numbers, steps * _STATE),), dtype)
    start = copied[:_STATE]

    @jax.jit
    def loop(start, numbers):
        # a smaller state, or nothing to read, and XLA makes of the loop something else than a loop of kernels
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
