import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import CELLS
from rnnlab.flow_lab.untrained import clip
from rnnlab.scans import scan


def _gradient(params, inputs):
    def loss(params):
        _, (hidden,) = scan(CELLS["rnn"], params, inputs, method="reference")
        return 0.5 * (hidden**2).sum()

    return np.concatenate([np.ravel(g) for g in jax.tree.leaves(jax.grad(loss)(params))])


@pytest.mark.parametrize("clipping", ["norm:0.01", "value:0.001", "norm:1000"])
def test_a_clipped_gradient_is_compared_with_the_gradient(clipping):
    params = CELLS["rnn"].init(jax.random.key(0), 4, 4)
    inputs = jax.random.normal(jax.random.key(1), (6, 2, 4))
    gradient = _gradient(params, jnp.asarray(inputs))
    kind, _, limit = clipping.partition(":")
    norm = np.linalg.norm(gradient)
    clipped = (
        gradient * min(1, float(limit) / norm) if kind == "norm" else np.clip(gradient, -float(limit), float(limit))
    )
    found = {name: value for _, name, value in clip(CELLS["rnn"], params, inputs, clipping)}
    size = np.linalg.norm(clipped)
    expected = {"cosine": gradient @ clipped / norm / size, "norm": norm, "clipped_norm": size}
    assert found == pytest.approx(expected, rel=1e-5)
