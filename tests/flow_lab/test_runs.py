import dataclasses
import functools
import math

import jax
import pytest

from rnnlab.flow_lab.config import read_task
from rnnlab.flow_lab.runs import learn, read_other_lengths
from tests.flow_lab.setting import SETTING


@pytest.fixture
def learn_in(tmp_path):
    return functools.partial(_learnt, tmp_path)


def _learnt(folder, seed=0, **changes):
    figures = learn(dataclasses.replace(SETTING, **changes), seed, folder / "run")
    by_name: dict[str, list[float]] = {}
    for _, name, value in figures:
        by_name.setdefault(name, []).append(value)
    return by_name


@pytest.fixture
def small_programs():
    """A program that holds large constants, such as the images of a task, gets a warning, which fails a test."""
    before = jax.config.jax_captured_constants_warn_bytes
    jax.config.update("jax_captured_constants_warn_bytes", 30_000)
    yield
    jax.config.update("jax_captured_constants_warn_bytes", before)


@pytest.mark.usefixtures("small_programs")
def test_a_task_within_reach_is_solved_and_the_run_ends_there(learn_in):
    found = learn_in(task="digits", features=32, batch_size=32, learning_rate=0.01, steps=2000, solved=1.0, cell="gru")
    assert found["solved"] == [True]
    assert found["final_loss"][0] < 1.0
    assert len(found["loss"]) < 40
    assert found["floor"] == [math.log(10)]
    assert 50 < found["accuracy"][0] <= 100  # a loss below 1 nat of 10 classes is not had by chance


def test_a_task_takes_options_of_its_own():
    for pairs, size in ((2, 8), (4, 512)):
        task = read_task(f"associative_recall:pairs={pairs},vocabulary={size}", where="reach.task")(16)
        assert (task.in_features, task.floor) == (size, math.log(size // 2))
        assert task.draw(jax.random.key(0), 3, "train").weights.sum(0).tolist() == [pairs] * 3


def test_a_run_that_is_not_finite_says_so_and_ends(learn_in):
    found = learn_in(intervention="gaussian:4", optimizer="sgd", learning_rate=10.0, lag=40, steps=500)
    assert found["diverged"] == [True]
    assert math.isnan(found["final_loss"][0])
    assert len(found.get("loss", [])) < 10


@pytest.mark.nightly
def test_flossing_before_and_during_training_brings_growth_nearer_to_none(learn_in):
    plain = learn_in(intervention="orthogonal:0.6")
    before = learn_in(intervention="orthogonal:0.6+flossing:200")
    during = learn_in(intervention="orthogonal:0.6+penalty:100", steps=200)
    assert abs(before["log_norm"][0]) < 0.7 * abs(plain["log_norm"][0])
    assert abs(during["log_norm"][-1]) < 0.7 * abs(plain["log_norm"][0])


@pytest.mark.parametrize("intervention", ["spectral:0.5", "gaussian:2+spectral:0.5"])
def test_a_spectral_limit_bounds_how_far_a_gradient_reaches_all_along(learn_in, intervention):
    found = learn_in(intervention=intervention, learning_rate=0.03)
    assert all(norm <= 8 * math.log(0.5) + 1e-3 for norm in found["log_norm"])


def test_the_largest_gradient_is_told_as_it_was_before_clipping(learn_in):
    assert learn_in(clipping="norm:0.001")["gradient_norm"][0] > 0.01


@pytest.mark.parametrize(("steps", "every"), [(101, 50), (70, 33), (60, 400)])
def test_validation_is_scored_every_fifty_steps_whatever_the_numbers(learn_in, steps, every):
    found = learn_in(steps=steps, measure_every=every)
    assert len(found["validation_loss"]) == steps // 50 + 1
    assert len(found["loss"]) == steps // 50 + 2  # that of the first call, too
    assert len(found["early_share"]) == -(-steps // every) + 1


@pytest.mark.nightly
def test_other_lengths_are_read_by_the_weights_of_one(tmp_path, learn_in):
    """At its own length the loss is that of `learn`."""
    found = {length: loss for length, _, loss in read_other_lengths(SETTING, 0, tmp_path / "run")}
    assert list(found) == [4, 8, 16, 32]
    assert found[8] == learn_in()["final_loss"][0]
