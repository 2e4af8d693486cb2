import dataclasses
import math

import jax
import pytest

from rnnlab.cells import CELLS
from rnnlab.flow_lab import newton
from tests.flow_lab.setting import SETTING


def _at_start(cell, gain, lag=80, hidden=32):
    keys = jax.random.split(jax.random.key(0), 3)
    params = cell.init(keys[0], 4, hidden)
    params |= {"R": gain * jax.random.normal(keys[1], params["R"].shape) / hidden**0.5, "W": 0.1 * params["W"]}
    found = newton.at_start(cell, params, jax.random.normal(keys[2], (lag, 2, 4)))
    assert {step for step, _, _ in found} == {lag}
    return {name: value for _, name, value in found}


def test_a_contraction_is_solved_at_once_and_chaos_is_not():
    """Of a tanh cell near 0 the exponent is log of the gain (circular law), and full Newton is near its solution."""
    calm, wild = _at_start(CELLS["rnn"], 0.3), _at_start(CELLS["rnn"], 3.0)
    assert calm["exponent"] == pytest.approx(math.log(0.3), abs=0.1)
    assert calm["solved_full"] == calm["solved_diagonal"] == 1
    assert calm["iterations_full"] <= 6 < calm["iterations_diagonal"]
    assert wild["exponent"] > 0
    assert wild["solved_full"] == wild["solved_diagonal"] == 0
    assert wild["iterations_full"] == 80 // 4


@pytest.mark.nightly
def test_a_training_is_followed_from_its_start_to_its_end(tmp_path):
    setting = dataclasses.replace(SETTING, cell="gru", clipping="norm:1", lag=60, steps=20, measure_every=10)
    found = newton.in_training(setting, 0, tmp_path / "run")
    assert [step for step, name, _ in found if name == "exponent"] == [0, 10, 20]
    value = {(step, name): number for step, name, number in found}
    for step in (0, 10, 20):
        assert value[step, "exponent"] < 0
        assert value[step, "solved_full"] == 1
        assert value[step, "warm_full"] < value[step, "iterations_full"] < value[step, "iterations_diagonal"]
    assert value[0, "exponent"] != value[20, "exponent"]
