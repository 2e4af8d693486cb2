"""Prints the operations with which devices that share a batch exchange values, for each method.

python -m tests.scans.rows_on_devices
"""

import json
import re

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rnnlab.cells import find_cell
from rnnlab.scans import Plan, scan

TIME, BATCH, FEATURES = 6, 4, 8
WAYS = {
    "gru": "sequential",
    "lstm/heads2": Plan(3),
    "lstm/diagonal": Plan(6, project="block", pull="block"),
    "lstm_layer_norm": Plan(2, recompute=True),
    "rnn": "reference",
    "lru": "associative",
    "lstm": "newton",
}


def main() -> None:
    """Compiles a training pass for two simulated devices."""
    jax.config.update("jax_num_cpu_devices", 2)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def shape(of, *axes):
        return jax.ShapeDtypeStruct(of.shape, of.dtype, sharding=NamedSharding(mesh, P(*axes)))

    inputs = shape(jax.ShapeDtypeStruct((TIME, BATCH, FEATURES), jnp.float32), None, "data")
    found = {}
    for name, method in WAYS.items():
        cell = find_cell(name)

        def training(params, inputs, d_outputs, cell=cell, method=method):
            outputs, pull = jax.vjp(lambda p, x: scan(cell, p, x, method=method)[0], params, inputs)
            return outputs, pull(d_outputs)

        params = jax.tree.map(shape, cell.init(jax.random.key(0), FEATURES, FEATURES))
        program = jax.jit(training).lower(params, inputs, inputs).compile().as_text()
        found[name] = sorted(set(re.findall(r" (all-[a-z]+|collective-[a-z]+|reduce-scatter)\(", program)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
