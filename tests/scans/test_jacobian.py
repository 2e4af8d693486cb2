import jax
import jax.numpy as jnp
import oracle
import pytest

from rnnlab.cells import find_cell
from rnnlab.scans import scan, step_jacobian
from tests import nightly


@pytest.mark.parametrize("name", nightly.but(oracle.SAMPLE, "slstm/heads3", "lru"))
def test_columns_are_differences_of_the_step(name):
    with jax.enable_x64(True):
        params, inputs, state = jax.tree.map(jnp.asarray, oracle.example(name))
        jacobian = step_jacobian(find_cell(name), params, state, inputs[0])
        size = len(state) * oracle.HIDDEN
        assert jacobian.shape == (oracle.BATCH, size, size)
        flat = jnp.concatenate(state, axis=1)

        @jax.jit
        def after(column, shift):
            moved = tuple(jnp.split(flat.at[:, column].add(shift), len(state), axis=1))
            return jnp.concatenate(scan(find_cell(name), params, inputs[:1], state=moved)[1], axis=1)

        for column in range(size):
            slope = (after(column, 1e-6) - after(column, -1e-6)) / 2e-6
            oracle.assert_close(jacobian[:, :, column], slope, 1e-7)
