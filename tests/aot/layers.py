"""One recurrent layer in bfloat16 with lengths, forward and backward: 64 steps, 64 sequences, 256 units.

    JAX_PLATFORMS=cpu python -m tests.aot.layers h100 lstm gru

Compiles it for a platform, and prints the table of `python -m rnnlab.aot`.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnlab.aot import compile_for
from rnnlab.aot.table import heading, rows_of
from rnnlab.cells import find_cell
from rnnlab.scans import scan

TIME, BATCH, HIDDEN = 64, 64, 256


def layer(name: str) -> tuple[Callable, tuple[Any, ...]]:
    """Returns the training pass of a layer, and the shapes of its arguments."""
    cell = find_cell(name)

    def loss(params, inputs, lengths):
        return scan(cell, params, inputs, seq_lengths=lengths)[0].astype(jnp.float32).sum()

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), HIDDEN, HIDDEN))
    narrow = {own: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16) for own, leaf in params.items()}
    inputs = jax.ShapeDtypeStruct((TIME, BATCH, HIDDEN), jnp.bfloat16)
    return jax.grad(loss, argnums=(0, 1)), (narrow, inputs, jax.ShapeDtypeStruct((BATCH,), jnp.int32))


if __name__ == "__main__":
    print(heading())
    for cell in sys.argv[2:]:
        function, arguments = layer(cell)
        for row in rows_of(cell, compile_for(function, *arguments, platform=sys.argv[1])):
            print(row, flush=True)
