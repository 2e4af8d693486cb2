import dataclasses

import jax
import jax.numpy as jnp
import pytest

from rnnlab.cells import CELLS, Cell, find_cell
from rnnlab.testing import PROMISES, check_cell, measure_promise
from tests import nightly

_ORDINARY = ("lru", "lstm/heads2")  # one that is linear in time, and one with heads; `tests/cells` has the others
EVERY = pytest.mark.parametrize("name", nightly.but([*CELLS, "rnn/diagonal"], *_ORDINARY))


@EVERY
def test_every_registered_cell_keeps_every_promise(name):
    """But one: `tests/cells` has their plain scans by every method, against their formulas."""
    check_cell(find_cell(name), promises=[promise for promise in PROMISES if promise != "methods agree"])


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
@EVERY
def test_every_registered_cell_keeps_them_at_other_points(name, seed):
    check_cell(find_cell(name), seed=seed)


@pytest.mark.nightly
def test_a_cell_from_outside_with_its_own_states_and_parameters_passes():
    def combine(params, state, a, r):
        h, slow, count = state
        slow = params["decay"] * slow + (1 - params["decay"]) * jnp.tanh(a + r)
        return h + jax.nn.sigmoid(slow) - 0.5 * h, slow, count + slow * h

    check_cell(
        Cell(
            name="leaky",
            gates=("g",),
            combine=combine,
            state_names=("h", "slow", "count"),
            unit_params={"decay": 0.9},
        )
    )


def _neighbours_mix(params, state, a, r):
    return (jnp.tanh(a + r + state[0].mean(0)),)


def _units_mix(params, state, a, r):
    return (jnp.tanh(a + r + jnp.roll(state[0], 1, axis=-1)),)


def _drifts(params, state, a, r):
    return (jnp.tanh(a + r) * (1.2 if params.get("b", a).dtype == jnp.bfloat16 else 1),)


def _gradient_is_cut(params, state, a, r):
    return (jnp.tanh(jax.lax.stop_gradient(a) + r),)


def _derivative_overflows(params, state, a, r):
    return (jnp.where(a > 0, a, jnp.expm1(a)) + 0 * r,)


def _logarithm_is_cut(params, state, a, r):
    return (jnp.tanh(jnp.nan_to_num(jnp.log(jax.nn.sigmoid(a)), neginf=0.0) / 100 + r),)


def _scale_overflows(params, state, a, r):
    return (jnp.tanh(a + r) / jnp.exp(params["scale"]),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"combine": _derivative_overflows, "split_gates": ("h",)},
            r"gate 'h' at \+-100: the gradient of W .*is not finite",
        ),
        (
            {"combine": _logarithm_is_cut, "split_gates": ("h",)},
            r"gate 'h' at \+-100: the value by 'sequential' differs by",
        ),
        ({"combine": _scale_overflows, "unit_params": {"scale": 0.0}}, r"'scale' at \+-100: .* is not finite"),
    ],
)
def test_a_cell_that_saturation_ruins_is_named_with_the_gate_or_parameter(changes, message):
    broken = dataclasses.replace(CELLS["rnn"], name="broken", **changes)
    with pytest.raises(AssertionError, match=f"cell 'broken': saturation leaves all finite and right: {message}"):
        check_cell(broken)


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"combine": _neighbours_mix}, "padded is unpadded"),
        ({"combine": _units_mix}, "jacobian is that of autodiff"),
        ({"combine": _drifts}, "bfloat16 stays near float32"),
        ({"combine": _gradient_is_cut, "split_gates": ("h",)}, "gradients are finite differences"),
        ({"combine": lambda p, s, a, r: (jnp.tanh(a + 2 * r),)}, "description fits its parameters"),
        ({"state_names": ("h", "c")}, "description fits its parameters"),
    ],
)
def test_a_cell_that_breaks_a_promise_is_named_with_it(changes, promise):
    broken = dataclasses.replace(CELLS["rnn"], name="broken", **changes)
    with pytest.raises(AssertionError, match=f"cell 'broken': {promise}: "):
        check_cell(broken)


@pytest.mark.parametrize("promise", ["jacobian is that of autodiff", "any length works"])
def test_a_promise_that_is_kept_is_measured_below_one(promise):
    found = measure_promise(CELLS["gru"], promise)
    assert found.promise == promise
    assert 0 <= found.excess < 1


def test_the_largest_difference_of_a_promise_is_measured():
    """A step of 1.2 times the size in bfloat16 alone is off by 0.2, of 0.01 that are allowed; of rounding, by less."""
    without_r = find_cell("rnn/none")  # with one the error of a step would grow in the next
    broken = dataclasses.replace(without_r, name="broken", combine=_drifts)
    found = measure_promise(broken, "bfloat16 stays near float32")
    assert found.excess == pytest.approx(0.2 / 0.01, rel=0.2)
    assert "differs by" in found.what


def test_a_promise_that_is_broken_otherwise_has_no_bound():
    broken = dataclasses.replace(CELLS["rnn"], name="broken", state_names=("h", "c"))
    assert measure_promise(broken, "description fits its parameters").excess == float("inf")
