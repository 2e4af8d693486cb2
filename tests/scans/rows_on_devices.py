"""What two simulated devices that share a batch exchange, and how far their results are from the plain scan of one.

    python -m tests.scans.rows_on_devices

Prints a JSON object: for each way to run a cell the operations with which devices exchange values, and the largest
difference of outputs and gradients.
"""

import json
import re

import jax
import numpy as np
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
    "lru": "associative",
    "lstm": "newton",
}


def _training(name, method):
    def training(params, inputs, d_outputs):
        outputs, pull = jax.vjp(lambda p, x: scan(find_cell(name), p, x, method=method)[0], params, inputs)
        return outputs, pull(d_outputs)

    return jax.jit(training)


def _try(name, method, mesh) -> tuple[list[str], float]:
    inputs, d_outputs = np.random.default_rng(0).normal(size=(2, TIME, BATCH, FEATURES)).astype(np.float32)
    params = find_cell(name).init(jax.random.key(0), FEATURES, FEATURES)
    wanted = _training(name, "reference")(params, inputs, d_outputs)
    shared = NamedSharding(mesh, P(None, "data"))
    arguments = jax.device_put((params, inputs, d_outputs), (NamedSharding(mesh, P()), shared, shared))
    program = _training(name, method).lower(*arguments).compile()
    exchanged = set(re.findall(r" (all-[a-z]+|collective-[a-z]+|reduce-scatter)\(", program.as_text()))
    differences = jax.tree.map(
        lambda one, other: float(np.abs(np.asarray(one) - np.asarray(other)).max()), program(*arguments), wanted
    )
    return sorted(exchanged), max(jax.tree.leaves(differences))


def main() -> None:
    """Tries every way."""
    jax.config.update("jax_num_cpu_devices", 2)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    print(json.dumps({name: _try(name, method, mesh) for name, method in WAYS.items()}))


if __name__ == "__main__":
    main()
