import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.models.pooling import POOLINGS, Pooling

OUTPUTS = jax.random.normal(jax.random.key(0), (5, 3, 4))
LENGTHS = [5, 1, 3]


def _pooled(pooling, steps):
    """By the formula, of the steps `[time, features]` of one sequence."""
    if pooling.kind == "mean":
        return steps.mean(0)
    if pooling.kind == "max":
        return steps.max(0)
    if pooling.kind == "mean_max":
        return np.concatenate([steps.mean(0), steps.max(0)])
    hidden = np.tanh(steps @ np.asarray(pooling.hidden.kernel[...]) + np.asarray(pooling.hidden.bias[...]))
    scores = hidden @ np.asarray(pooling.score.kernel[...])[:, 0]
    weights = np.exp(scores) / np.exp(scores).sum()
    return weights @ steps


@pytest.mark.parametrize("kind", POOLINGS)
def test_each_sequence_is_pooled_over_its_own_steps(kind):
    pooling = Pooling(kind, 4, rngs=nnx.Rngs(1))
    found = pooling(OUTPUTS, jnp.array(LENGTHS))
    assert found.shape == (3, pooling.out_features)
    for row, length in enumerate(LENGTHS):
        assert_close(found[row], _pooled(pooling, np.asarray(OUTPUTS[:length, row])))
    assert_close(pooling(OUTPUTS)[1], _pooled(pooling, np.asarray(OUTPUTS[:, 1])))


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_column_that_only_fills_up_is_0_and_passes_no_gradient(kind):
    pooling, lengths = Pooling(kind, 4, rngs=nnx.Rngs(1)), jnp.array([5, 0, 3])
    assert not np.asarray(pooling(OUTPUTS, lengths)[1]).any()
    gradient = jax.grad(lambda outputs: pooling(outputs, lengths).sum())(OUTPUTS)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient[:, 1]).any()
