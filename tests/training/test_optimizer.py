import math

import jax
import numpy as np
import optax
import pytest

from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training.optimizer import (
    OPTIMIZERS,
    SCHEDULES,
    averaged,
    last_rate,
    make_optimizer,
    make_schedule,
    observe_validation,
)

GRADIENT = {"W": np.array([3.0, 0.0], np.float32), "b": np.array([4.0], np.float32)}  # global norm 5


def _training(**fields):
    config = default_config().training
    config.update(fields)
    return config


@pytest.mark.parametrize(("limit", "factor"), [(1.0, 0.2), (10.0, 1.0), (0.0, 1.0)])
def test_a_step_is_clipped_to_the_global_norm_and_no_further(limit, factor):
    training = _training(optimizer="sgd", schedule="constant", learning_rate=0.5, clip_global_norm=limit)
    optimizer = make_optimizer(training)
    updates, _ = optimizer.update(GRADIENT, optimizer.init(GRADIENT), GRADIENT)
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, -0.5 * factor * g, rtol=1e-6), updates, GRADIENT)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_down_and_clipping_leaves_its_state_alike(name):
    states = []
    for limit in (0.0, 1.0):
        optimizer = make_optimizer(_training(optimizer=name, clip_global_norm=limit, schedule="constant"))
        state = optimizer.init(GRADIENT)
        updates, _ = optimizer.update(GRADIENT, state, GRADIENT)
        assert updates["W"][0] < 0
        assert updates["b"][0] < 0
        states.append(jax.tree.structure(state))
    assert states[0] == states[1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_peaks_at_the_learning_rate(name):
    schedule = make_schedule(_training(schedule=name, steps=1000, learning_rate=0.25))
    rates = [float(schedule(step)) for step in range(1000)]
    assert max(rates) == pytest.approx(0.25, rel=1e-3)
    assert min(rates) >= 0
    if name != "constant":
        assert rates[-1] < 0.5 * max(rates)


def test_unknown_names_and_decay_without_effect_are_refused_with_what_is_allowed():
    with pytest.raises(UserError, match=r"optimizer: unknown 'adm'; allowed: adam"):
        make_optimizer(_training(optimizer="adm"))
    with pytest.raises(UserError, match=r"schedule: unknown 'cosine'; allowed: constant"):
        make_optimizer(_training(schedule="cosine"))
    with pytest.raises(UserError, match=r"weight_decay: 'adam' ignores it; allowed with: adamw"):
        make_optimizer(_training(optimizer="adam", weight_decay=0.1))


def test_each_entry_is_cut_at_the_value_and_the_two_clippings_exclude_each_other():
    fields = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 1.0}
    optimizer = make_optimizer(_training(**fields, clip_global_norm=0.0, clip_value=3.5))
    updates, _ = optimizer.update(GRADIENT, optimizer.init(GRADIENT), GRADIENT)
    np.testing.assert_array_equal(updates["W"], [-3.0, 0.0])
    np.testing.assert_array_equal(updates["b"], [-3.5])
    with pytest.raises(UserError, match=r"clip_value: 3\.5 and clip_global_norm 1\.0; set one of them to 0"):
        make_optimizer(_training(**fields, clip_value=3.5))


def test_the_average_weighs_each_steps_parameters_by_the_decay_and_changes_no_update():
    fields = {"optimizer": "momentum", "schedule": "constant", "learning_rate": 0.1}
    plain, averaging = make_optimizer(_training(**fields)), make_optimizer(_training(**fields, average_decay=0.8))
    params, states, seen = GRADIENT, [plain.init(GRADIENT), averaging.init(GRADIENT)], []
    for _ in range(5):
        updates = []
        for index, optimizer in enumerate((plain, averaging)):
            update, states[index] = optimizer.update(GRADIENT, states[index], params)
            updates.append(update)
        jax.tree.map(np.testing.assert_array_equal, *updates)
        params = optax.apply_updates(params, updates[0])
        seen.append(params)
    weights = 0.8 ** np.arange(5)[::-1]
    for name in GRADIENT:
        wanted = sum(w * own[name] for w, own in zip(weights, seen, strict=True)) / weights.sum()
        np.testing.assert_allclose(averaged(states[1])[name], wanted, rtol=1e-5)
    assert averaged(states[0]) is None


@pytest.mark.parametrize(
    ("losses", "stuck"),
    [([5, 4, 4.5, 3, 4.2, 2, 1, 1], True), ([5, 4, 3, 4, 4.1, 3.5, 3, 3], True), ([3, 3, 3, 3, 3, 3, 3, 2], False)],
)
def test_nt_asgd_is_algorithm_1_of_merity(losses, stuck):
    """Beside the algorithm as it is printed, in NumPy; two steps before each evaluation."""
    n, rate, decay, rng = 2, 0.1, 0.01, np.random.default_rng(0)
    optimizer = make_optimizer(
        _training(
            optimizer="nt_asgd",
            schedule="constant",
            learning_rate=rate,
            weight_decay=decay,
            nonmonotone=n,
            clip_global_norm=0.0,
        )
    )
    params = wanted = {"W": np.array([1.0, 2.0], np.float32)}
    state, logs, since = optimizer.init(params), [], None
    for loss in [*losses, math.nan]:
        for _ in range(2):
            gradient = {"W": rng.normal(size=2).astype(np.float32)}
            updates, state = jax.jit(optimizer.update)(gradient, state, params)
            params = optax.apply_updates(params, updates)
            wanted = {"W": wanted["W"] - rate * (gradient["W"] + decay * wanted["W"])}
            since = None if since is None else [*since, wanted["W"]]
        np.testing.assert_allclose(params["W"], wanted["W"], rtol=1e-5)
        if not since:
            assert averaged(state) is None
        else:
            np.testing.assert_allclose(averaged(state)["W"], np.mean(since, 0), rtol=1e-5)
        if since is None and len(logs) > n and loss > min(logs[:-n]):
            since = []
        logs.append(loss)
        state = observe_validation(state, float(loss))
    assert (since is not None) == stuck


def test_an_optimizer_without_a_trigger_does_not_notice_an_evaluation():
    for name in set(OPTIMIZERS) - {"nt_asgd"}:
        optimizer = make_optimizer(_training(optimizer=name, average_decay=0.9))
        state = optimizer.init(GRADIENT)
        assert observe_validation(state, 1.0) is state
    with pytest.raises(UserError, match=r"average_decay: 0\.9 with 'nt_asgd'"):
        make_optimizer(_training(optimizer="nt_asgd", average_decay=0.9))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_takes_the_rates_of_every_schedule_and_tells_the_last_one(optimizer, schedule):
    """A run of one step uses the learning rate; skipped steps, which leave the state as it is, use no rate up."""
    for steps in (1, 2, 3, 20):
        training = _training(optimizer=optimizer, schedule=schedule, steps=steps, learning_rate=0.25)
        made, rates = make_optimizer(training), make_schedule(training)
        assert np.all(np.isfinite([float(rates(step)) for step in range(steps)]))
        assert max(float(rates(step)) for step in range(steps)) > 0
        if steps == 1:
            assert float(rates(0)) == 0.25
    state = made.init(GRADIENT)
    for count in range(3):
        updates, state = made.update(GRADIENT, state, GRADIENT)
        assert last_rate(rates, state) == pytest.approx(float(rates(count)))
        if optimizer == "sgd":  # moves by the rate times the gradient, here clipped from a norm of 5 to 1
            np.testing.assert_allclose(updates["b"], -last_rate(rates, state) * 4.0 / 5, rtol=1e-5)


def test_a_schedule_may_be_longer_than_the_run_but_not_shorter():
    whole, part = _training(steps=100), _training(steps=25, schedule_steps=100)
    rates = [[float(make_schedule(training)(step)) for step in range(100)] for training in (whole, part)]
    assert rates[0] == rates[1]
    with pytest.raises(UserError, match=r"schedule_steps: 24 must be at least config\.training\.steps=25"):
        make_schedule(_training(steps=25, schedule_steps=24))


@pytest.mark.parametrize("warmup", [20, 21, 2**31 - 1])
def test_a_warm_up_that_leaves_no_step_to_the_cosine_is_refused(warmup):
    with pytest.raises(UserError, match=rf"warmup_steps: {warmup} must be below config\.training\.steps=20"):
        make_optimizer(_training(schedule="warmup_cosine", steps=20, warmup_steps=warmup))
    make_optimizer(_training(schedule="warmup_cosine", steps=20, warmup_steps=19))
    make_optimizer(_training(schedule="inverse_sqrt", steps=20, warmup_steps=warmup))


@pytest.mark.parametrize("schedule", sorted({*SCHEDULES} - {"warmup_cosine", "inverse_sqrt"}))
def test_a_warm_up_that_the_schedule_does_not_have_is_refused(schedule):
    with pytest.raises(
        UserError, match=rf"warmup_steps: the schedule '{schedule}' ignores it; allowed with: warmup_cos"
    ):
        make_schedule(_training(schedule=schedule, warmup_steps=1))
