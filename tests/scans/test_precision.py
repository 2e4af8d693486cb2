"""Where results are claimed to be exact, every product of float32 is lowered for a TPU at highest precision."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from rnnlab.cells import find_cell
from rnnlab.gradient_flow import lag_jacobians, lag_norms, lyapunov_exponents, step_gradients
from rnnlab.gradient_flow.contributions import each_step
from rnnlab.gradient_flow.interventions import flossing_penalty, limit_spectral_norm
from rnnlab.gradient_flow.trajectory import run
from rnnlab.scans import newton_scan, scan, step_jacobian
from rnnlab.testing import check_cell

TIME, BATCH, FEATURES = 4, 2, 3
CELL = find_cell("gru_reset_before")  # one of two products with R, within its step

EXACT = {
    "newton_scan": lambda p, x: newton_scan(CELL, p, x)[0],
    "its gradient": jax.grad(lambda p, x: scan(CELL, p, x, method="newton")[0].sum(), argnums=(0, 1)),
    "step_jacobian": lambda p, x: step_jacobian(CELL, p, CELL.initial_state(BATCH, FEATURES, jnp.float32), x[0]),
    "lag_jacobians": lambda p, x: lag_jacobians(CELL, p, x, lags=[TIME])[1:],
    "lag_norms": lambda p, x: lag_norms(CELL, p, x, lags=[TIME]),
    "lyapunov_exponents": lambda p, x: lyapunov_exponents(CELL, p, x),
    "step_gradients": lambda p, x: step_gradients(CELL, p, x, jnp.sum)[:4],
    "each_step": lambda p, x: each_step(CELL, t := run(CELL, p, x), jnp.zeros(()), x, t.recurrent_projection)[:4],
    "flossing_penalty": jax.grad(lambda p, x: flossing_penalty(CELL, p, x, exponents=1)),
    "limit_spectral_norm": lambda p, x: limit_spectral_norm(CELL, p, 0.5),
    "run": lambda p, x: run(CELL, p, x),
}


def _precisions(function) -> list[str]:
    """The precisions of all products of a program of parameters and inputs; `[]` for one without a precision."""
    params = jax.eval_shape(lambda: CELL.init(jax.random.key(0), FEATURES, FEATURES))
    inputs = jax.ShapeDtypeStruct((TIME, BATCH, FEATURES), jnp.float32)
    text = jax.jit(function).trace(params, inputs).lower(lowering_platforms=("tpu",)).as_text()
    products = re.findall(r"stablehlo\.dot_general.*", text)
    return ["".join(re.findall(r"precision = \[([\w, ]*)\]", product)) for product in products]


@pytest.mark.parametrize("name", EXACT)
def test_exact_results_are_computed_in_float32(name):
    found = _precisions(EXACT[name])
    assert found or name == "limit_spectral_norm"  # which has no product of its own
    assert set(found) <= {"HIGHEST, HIGHEST"}


def test_a_plain_scan_has_the_precision_that_the_user_sets():
    def function(params, inputs):
        return scan(CELL, params, inputs)[0]

    assert set(_precisions(function)) == {"DEFAULT, DEFAULT"}
    with jax.default_matmul_precision("high"):
        assert set(_precisions(function)) == {"HIGH, HIGH"}


def test_a_cell_is_checked_in_float32():
    seen = []

    def combine(params, state, a, r):
        seen.append(jax.config.jax_default_matmul_precision)
        return (jnp.tanh(a + r),)

    check_cell(dataclasses.replace(find_cell("rnn"), combine=combine), promises=["chunked is whole"])
    assert set(seen) == {"highest"}
