import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.scans import linear
from tests import nightly

TIME, BATCH, UNITS = 12, 2, 3


def _draw(*shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) / 2)


def _of_units(entries):
    """S x S blocks for each unit, and what they are as matrices of one unit, `[time, batch, hidden, S, S]`."""
    matrices = [[_draw(TIME, BATCH, UNITS, seed=10 * p + q) for q in range(entries)] for p in range(entries)]
    drives = tuple(_draw(TIME, BATCH, UNITS, seed=100 + p) for p in range(entries))
    first = tuple(_draw(BATCH, UNITS, seed=200 + p) for p in range(entries))
    return matrices, drives, first


@pytest.mark.parametrize("block", [1, 5, *nightly.only(3, 12)])
@pytest.mark.parametrize("entries", [*nightly.only(1), 2, 3])
def test_blocks_of_units_are_the_loop(entries, block):
    with jax.enable_x64(True):
        matrices, drives, first = _of_units(entries)
        found = np.stack(linear.solve(matrices, drives, first, block=block))
        state = np.stack(first)
        for step in range(TIME):
            own = np.array([[m[step] for m in row] for row in matrices])
            state = np.einsum("pqbh,qbh->pbh", own, state) + np.stack([d[step] for d in drives])
            np.testing.assert_allclose(found[:, step], state, rtol=1e-10)


@pytest.mark.parametrize("block", [1, 4, 12])
def test_blocks_of_heads_are_the_loop(block):
    with jax.enable_x64(True):
        matrices, drives = _draw(TIME, BATCH, 2, 4, 4, seed=0), _draw(TIME, BATCH, 2, 4, seed=1)
        state = _draw(BATCH, 2, 4, seed=2)
        found = linear.solve(matrices, drives, state, block=block)
        for step in range(TIME):
            state = np.einsum("bkij,bkj->bki", matrices[step], state) + drives[step]
            np.testing.assert_allclose(found[step], state, rtol=1e-9)


@pytest.mark.parametrize("block", [1, 4, 12])
def test_the_way_back_is_the_gradient_of_the_way_there(block):
    with jax.enable_x64(True):
        matrices, drives, first = _of_units(2)
        weights = tuple(_draw(TIME, BATCH, UNITS, seed=300 + p) for p in range(2))

        def loss(drives):
            return sum((w * s).sum() for w, s in zip(weights, linear.solve(matrices, drives, first), strict=True))

        wanted = jax.grad(loss)(drives)  # d loss / d b_t is the adjoint of step t
        for found, own in zip(linear.solve_back(matrices, weights, block=block), wanted, strict=True):
            np.testing.assert_allclose(found, own, rtol=1e-10)
