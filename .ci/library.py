"""The library by itself: run where nothing is installed but the wheel and what it needs."""

import importlib.metadata

import jax
import jax.numpy as jnp

import rnnlab

# Twelve lines: a cell of one's own over time, its gradient, and all steps in parallel.


def combine(params, state, a, r):
    (h,) = state
    return (0.5 * h + 0.5 * jnp.tanh(a + r),)


leaky = rnnlab.Cell(name="leaky", gates=("h",), combine=combine)
params = leaky.init(jax.random.key(0), 16, 32)
inputs = jax.random.normal(jax.random.key(1), (100, 8, 16))
outputs, (last,) = rnnlab.scan(leaky, params, inputs)
gradient = jax.grad(lambda params: rnnlab.scan(leaky, params, inputs)[0].sum())(params)
parallel, _ = rnnlab.scan(leaky, params, inputs, method="newton")
assert jnp.allclose(outputs, parallel, atol=1e-5)
assert jnp.array_equal(outputs[-1], last)
assert gradient["R"].shape == (32, 32)
rnnlab.check_cell(leaky, promises=["padded is unpadded", "jacobian is that of autodiff"])

JAX = {"jax", "jaxlib", "ml-dtypes", "numpy", "opt-einsum", "scipy"}
MOST = 30  # flax by itself brings 22
found = {package.metadata["Name"].lower().replace("_", "-") for package in importlib.metadata.distributions()}
others = sorted(found - JAX - {"rnnlab", "pip", "setuptools"})
print(f"{len(others)} packages besides jax's own: {', '.join(others)}")
assert len(others) <= MOST
assert importlib.metadata.version("rnnlab") == rnnlab.__version__
