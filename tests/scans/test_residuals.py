import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import find_cell
from rnnlab.scans.residuals import Projections, after_each, before_each


@pytest.mark.parametrize("reverse", [False, True])
def test_states_before_and_after_each_step_are_those_of_the_loop(reverse):
    first, states = np.float32(-1), []
    for step in range(5):
        states.append(np.float32(step))
    before = np.array([first, *states[:-1]])
    after = np.array(states)
    if reverse:  # the loop ran from the last row to the first
        before, after = before[::-1], after[::-1]
    np.testing.assert_array_equal(before_each(jnp.asarray(first), jnp.asarray(after), reverse), before)
    np.testing.assert_array_equal(after_each(jnp.asarray(before), jnp.asarray(states[-1]), reverse), after)


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm_layer_norm"])
def test_combine_gives_the_same_for_the_projections_that_are_stored(name):
    cell = find_cell(name)
    params, inputs, state = oracle.example(name)
    a = inputs[0] @ params["W"] + params["b"]
    r = oracle.recurrent(name, params, state[0])
    stored = Projections.join(cell, jnp.asarray(a), jnp.asarray(r), jnp.dtype("float32"))
    assert sum(part.shape[-1] for part in stored) == oracle.HIDDEN * (len(cell.gates) + len(cell.split_gates))
    oracle.assert_close(cell.combine(params, state, *stored.split()), cell.combine(params, state, a, r))
