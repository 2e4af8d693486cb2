"""bfloat16 and float16 are measured in float32, by every function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import find_cell
from rnnlab.gradient_flow import (
    Treatment,
    kaplan_yorke_dimension,
    lag_jacobians,
    lag_norms,
    lyapunov_exponents,
    step_gradients,
)
from rnnlab.gradient_flow.contributions import each_step
from rnnlab.gradient_flow.interventions import (
    RECURRENT_INITS,
    chrono_biases,
    draw_recurrent,
    flossing_penalty,
    limit_spectral_norm,
    set_gate_bias,
)
from rnnlab.gradient_flow.trajectory import run
from tests import nightly

NARROW = [jnp.bfloat16, jnp.float16]
CELLS = ["lstm_layer_norm", "s5"]


def _loss(hidden):
    return (hidden**2).sum()


MEASURES = {
    "lag_jacobians": lambda *args, state: lag_jacobians(*args, lags=[4], state=state),
    "lag_norms": lambda *args, state: lag_norms(*args, lags=[4], state=state),
    "lyapunov_exponents": lambda *args, state: lyapunov_exponents(*args, exponents=2, state=state),
    "step_gradients": lambda *args, state: step_gradients(*args, _loss, state=state),
    "flossing_penalty": lambda *args, state: flossing_penalty(*args, exponents=2, state=state),
    "run": lambda *args, state: run(*args, state),
}


def _example(name):
    """float32 arrays that every dtype holds as they are: the reference differs in nothing but their dtype."""
    cell = find_cell(name)
    params = cell.init(jax.random.key(0), 3, 4)
    state = tuple(jnp.full((2, 4), 0.25) for _ in cell.state_names)
    drawn = params, jax.random.normal(jax.random.key(1), (4, 2, 3)), state
    return cell, *jax.tree.map(lambda v: v.astype(jnp.bfloat16).astype(jnp.float16).astype(jnp.float32), drawn)


def _cast(dtype, *values):
    return jax.tree.map(lambda v: v.astype(dtype), values)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", nightly.cells("lru"))
def test_what_is_measured_of_narrow_arrays_is_what_float32_gives(name, measure):
    cell, *wide = _example(name)
    wanted = MEASURES[measure](cell, *wide[:2], state=wide[2])
    for dtype in NARROW:
        params, inputs, state = _cast(dtype, *wide)
        for given in ((params, inputs, state), (params, *wide[1:]), (wide[0], inputs, wide[2]), (*wide[:2], state)):
            found = MEASURES[measure](cell, *given[:2], state=given[2])
            jax.tree.map(np.testing.assert_array_equal, found, wanted)
            assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {leaf.dtype for leaf in jax.tree.leaves(wanted)}


@pytest.mark.parametrize("dtype", NARROW)
def test_the_gradient_of_the_flossing_penalty_is_that_of_float32_in_the_dtype_of_the_parameters(dtype):
    cell, params, inputs, _ = _example("rnn")

    def penalty(params):
        return flossing_penalty(cell, params, inputs, exponents=1)

    found, wanted = jax.grad(penalty)(_cast(dtype, params)[0]), jax.grad(penalty)(params)
    for name, slope in found.items():
        np.testing.assert_array_equal(slope, wanted[name].astype(dtype), strict=True)


@pytest.mark.parametrize("dtype", NARROW)
def test_parameters_that_are_changed_keep_their_dtype(dtype):
    cell, params, *_ = _example("lstm")
    (narrow,) = _cast(dtype, params)
    key = jax.random.key(2)
    changes = [
        *(lambda p, kind=kind: draw_recurrent(cell, p, key, kind=kind, gain=0.5) for kind in RECURRENT_INITS),
        lambda p: set_gate_bias(cell, p, "f", jnp.float32(0.1)),
        lambda p: chrono_biases(cell, p, key, longest=9),
        lambda p: limit_spectral_norm(cell, p, 0.5),
        lambda p: Treatment.read("gaussian:2+chrono").start(cell, p, key, longest=9),
        lambda p: Treatment.read("spectral:0.5").constrain(cell, p),
    ]
    for change in changes:
        found, wanted = change(narrow), change(params)
        for name, value in found.items():
            assert value.dtype == dtype
            np.testing.assert_array_equal(value, wanted[name].astype(dtype))


@pytest.mark.parametrize("dtype", NARROW)
def test_a_trajectory_and_a_spectrum_of_narrow_numbers_are_summed_in_float32(dtype):
    cell, params, inputs, state = _example("lstm")
    trajectory = jax.tree.map(lambda v: v.astype(dtype), run(cell, params, inputs, state))
    gradients = _cast(dtype, inputs, trajectory.recurrent_projection)
    found = each_step(cell, trajectory, jnp.float32(0), *gradients)
    wide = jax.tree.map(lambda v: v.astype(jnp.float32), (trajectory, gradients))
    jax.tree.map(np.testing.assert_array_equal, found, each_step(cell, wide[0], jnp.float32(0), *wide[1]))
    exponents = jnp.linspace(0.5, -1.0, 1000).astype(dtype)
    dimension = kaplan_yorke_dimension(exponents)
    assert dimension.dtype == jnp.float32
    assert dimension == kaplan_yorke_dimension(exponents.astype(jnp.float32))
