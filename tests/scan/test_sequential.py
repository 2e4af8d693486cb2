import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import CELLS
from rnnlab.scan import scan

OPTIONS = {
    "whole": {},
    "reverse": {"reverse": True},
    "lengths": {"seq_lengths": np.array([6, 0, 4])},
    "everything": {
        "seq_lengths": np.array([6, 0, 4]),
        "reverse": True,
        "resets": np.array([[0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]], bool),
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_those_of_autodiff(name, options):
    with jax.enable_x64(True):
        args = jax.tree.map(jnp.asarray, oracle.example(name))

        def loss(params, inputs, state, method):
            return oracle.weighted(scan(CELLS[name], params, inputs, state=state, method=method, **options))

        gradients = [jax.grad(loss, argnums=(0, 1, 2))(*args, method) for method in ("sequential", "reference")]
    oracle.assert_close(*gradients, 1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_the_backward_loop_carries_no_weight_gradient(name):
    """Only dh, ds (and the small unit parameters) may be carried; dW and dR are products after the loop."""
    cell, hidden = CELLS[name], 16
    params = cell.init(jax.random.key(0), 3, hidden)
    inputs = jnp.zeros((9, 2, 3))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: scan(cell, p, inputs)[0].sum()))(params)
    loops = [eqn for eqn in jaxpr.jaxpr.eqns if eqn.primitive.name == "scan"]
    carried = [variable.aval.shape for loop in loops for variable in loop.outvars[: loop.params["num_carry"]]]
    assert len(loops) == 2
    assert params["W"].shape not in carried
    if not cell.combine_reads_recurrent:
        assert params["R"].shape not in carried
