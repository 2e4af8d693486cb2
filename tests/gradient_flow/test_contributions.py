import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close, example

from rnnlab.cells import CELLS
from rnnlab.gradient_flow import step_gradients
from rnnlab.scans import scan
from tests import nightly

_POINTWISE = [n for n, cell in CELLS.items() if cell.recurrence == "dense" and not cell.mixes_units]


def _loss(outputs):
    return (outputs[-1] ** 2).sum() + jnp.sin(outputs).sum()


@pytest.mark.parametrize("name", nightly.but(_POINTWISE, "lstm"))
def test_each_step_has_the_gradient_of_a_weight_of_its_own(name):
    cell = CELLS[name]
    with jax.enable_x64(True):
        params, inputs, state = jax.tree.map(jnp.asarray, example(name))
        measured = step_gradients(cell, params, inputs, _loss, state=state)

        def unrolled(recurrents, inputs):
            entered, outputs = state, []
            for recurrent, x in zip(recurrents, inputs, strict=True):
                _, entered = scan(cell, params | {"R": recurrent}, x[None], state=entered)
                outputs.append(entered[0])
            return _loss(jnp.stack(outputs))

        d_recurrents, d_inputs = jax.jit(jax.grad(unrolled, argnums=(0, 1)))([params["R"]] * len(inputs), inputs)
        assert_close(measured.loss, _loss(scan(cell, params, inputs, state=state)[0]))
        assert_close(measured.recurrent, np.array([np.linalg.norm(d) for d in d_recurrents]))
        assert_close(measured.inputs, np.linalg.norm(d_inputs, axis=-1))


def test_the_histogram_counts_every_gate_of_every_unit_once():
    cell, (params, inputs, state) = CELLS["lstm"], jax.tree.map(jnp.asarray, example("lstm"))
    edges = np.array([-1.0, 0.0, 0.5, 1.0])
    measured = step_gradients(cell, params, inputs, _loss, state=state, edges=edges)
    first = inputs[:1] @ params["W"] + params["b"] + state[0] @ params["R"]
    one = step_gradients(cell, params, inputs[:1], _loss, state=state, edges=edges)
    hidden, batch = params["R"].shape[0], inputs.shape[1]
    assert (np.asarray(measured.gates).sum(1) == inputs.shape[0] * batch * hidden).all()
    for gate, values in enumerate(np.split(np.asarray(first), len(cell.gates), axis=-1)):
        wanted = [(values < 0).sum(), ((values >= 0) & (values < 0.5)).sum(), (values >= 0.5).sum()]
        assert np.asarray(one.gates[gate]).tolist() == wanted
