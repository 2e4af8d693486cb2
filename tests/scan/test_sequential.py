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
    bodies = [value.jaxpr for loop in loops for value in loop.params.values() if hasattr(value, "jaxpr")]
    carried = [variable.aval.shape for body in bodies for variable in body.outvars]
    assert len(loops) == len(bodies) == 2
    assert params["W"].shape not in carried
    if not cell.combine_reads_recurrent:
        assert params["R"].shape not in carried


@pytest.mark.parametrize("dtypes", [("float32", "bfloat16"), ("bfloat16", "float32")], ids="-".join)
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_each_gradient_has_the_dtype_of_what_it_belongs_to(name, dtypes):
    params, inputs, _ = oracle.example(name)
    params = {key: jnp.asarray(value, dtypes[0]) for key, value in params.items()}
    inputs = jnp.asarray(inputs, dtypes[1])
    gradients = [
        jax.grad(lambda p, x, m=m: scan(CELLS[name], p, x, method=m)[0].sum(), argnums=(0, 1))(params, inputs)
        for m in ("sequential", "reference")
    ]
    for ours, wanted in zip(*map(jax.tree.leaves, gradients), strict=True):
        assert ours.dtype == wanted.dtype
        drift = jnp.linalg.norm((ours - wanted).astype(jnp.float32)) / jnp.linalg.norm(wanted.astype(jnp.float32))
        assert drift < 0.02
