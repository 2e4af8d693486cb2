import jax
import numpy as np
import pytest

from rnnlab.cells import CELLS
from rnnlab.gradient_flow import Treatment

LSTM, RNN = CELLS["lstm"], CELLS["rnn"]
HIDDEN = 12


def _start(cell, text):
    params = cell.init(jax.random.key(0), 3, HIDDEN)
    return params, Treatment.read(text).start(cell, params, jax.random.key(1), longest=50)


def test_default_leaves_the_parameters_as_they_are():
    before, after = _start(LSTM, "default")
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_treatments_joined_are_all_applied():
    _, after = _start(LSTM, "identity:0.5+forget:3")
    np.testing.assert_array_equal(after["R"], np.tile(0.5 * np.eye(HIDDEN), (1, 4)))
    np.testing.assert_array_equal(after["b"].reshape(4, HIDDEN)[1], 3.0)


def test_chrono_takes_the_length_of_the_task_unless_it_is_given_one():
    for text, longest in (("chrono", 50), ("chrono:5", 5)):
        forget = _start(LSTM, text)[1]["b"].reshape(4, HIDDEN)[1]
        assert np.exp(forget).max() < longest
        assert np.exp(forget).max() > longest / 3


def test_a_spectral_limit_holds_from_the_start_and_after_a_step():
    treatment = Treatment.read("gaussian:3+spectral:1.5")
    params = treatment.start(RNN, RNN.init(jax.random.key(0), 3, HIDDEN), jax.random.key(1), longest=50)
    np.testing.assert_allclose(np.linalg.norm(params["R"], 2), 1.5, rtol=1e-5)
    moved = treatment.constrain(RNN, params | {"R": 2 * params["R"]})
    np.testing.assert_allclose(np.linalg.norm(moved["R"], 2), 1.5, rtol=1e-5)


def test_a_cell_without_memory_gates_fits_no_treatment_of_them():
    assert not Treatment.read("orthogonal+chrono").fits(RNN)
    assert not Treatment.read("forget:2").fits(RNN)
    assert Treatment.read("orthogonal+flossing:3").fits(RNN)
    assert Treatment.read("chrono").fits(LSTM)


@pytest.mark.parametrize("text", ["orthognal", "flossing", "spectral:0", "gaussian:x", "forget:", "chrono:nan", ""])
def test_what_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match=r"unknown intervention|needs a number above 0"):
        Treatment.read(text)
