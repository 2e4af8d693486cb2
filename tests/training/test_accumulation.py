"""Gradients over micro-batches, against those of whole batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.errors import UserError
from rnnlab.models import ManyToOne
from rnnlab.tasks.base import Loss
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training.accumulation import check_accumulate
from rnnlab.training.loop import train
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.programs import Programs
from rnnlab.training.step import TrainState, make_train_step, split_model
from tests import nightly, tiny
from tests.tasks import kinds

SEED = jnp.uint32(0)


def _training(**fields):
    training = default_config().training
    training.update({"optimizer": "sgd", "schedule": "constant", "learning_rate": 1.0, "clip_global_norm": 0.0})
    training.update(fields)
    return training


def _step(loss, merge, training, **options):
    return make_train_step(loss, merge, make_optimizer(training), training, **options)


def _start(params, training, carry=()):
    """A state of its own, which a step may have for good."""
    params, carry = jax.tree.map(jnp.copy, (params, carry))
    return TrainState.start(params, make_optimizer(training), carry)


_ALSO = [(kind, 1) for kind in ("classes", "tags", "forecast", "lag")] + [("seq2seq", 2), ("classes", 2)]


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("seq2seq", 1), ("language_model", 2), *nightly.only(("language_model", 1), *_ALSO)],
)
def test_micro_batches_give_the_steps_of_whole_batches(tmp_path, kind, calls):
    """4 x 16 rows against 64, with weights that differ between them; the language model with a carry."""
    task, batch, carry = kinds.make(kind, tmp_path, training__batch_size=64)
    merge, params = split_model(task.make_model())
    own = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.5, "clip_global_norm": 0.1}
    whole, parts = (task.configured(task.config.copy_and_resolve_references()).config.training for _ in range(2))
    whole.update(own)
    parts.update(own | {"accumulate": 4, "steps_per_call": calls})
    wanted, state = _start(params, whole, carry), _start(params, parts, carry)
    step, by_parts = _step(task.loss, merge, whole), _step(task.loss, merge, parts)
    for _ in range(2):
        wanted, metrics = step(wanted, batch, SEED)
    given = batch if calls == 1 else jax.tree.map(lambda v: jnp.stack([v, v]), batch)
    for _ in range(2 // calls):
        state, found = by_parts(state, given, SEED)
    found = found if calls == 1 else jax.tree.map(lambda v: v[-1], found)
    assert int(state.step) == 2
    assert bool(found.clipped)
    close = {"rtol": 1e-6, "atol": 1e-6}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), found._asdict(), metrics._asdict())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), state.params, wanted.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), state.carry, wanted.carry)
    assert max(float(jnp.abs(state.params[name] - params[name]).max()) for name in params) > 1e-3


def _drawn(model, batch, carry, *, rngs, step):
    """A loss whose carry is what it drew for each row."""
    drawn = jax.random.uniform(rngs.dropout(), batch.shape)
    return Loss((model["w"] * batch).sum(), jnp.float32(len(batch)), drawn, {"rows": jnp.float32(len(batch))})


def test_each_micro_batch_draws_its_own_numbers_which_follow_from_the_step():
    training = _training(accumulate=2)
    step = _step(_drawn, lambda params: params, training)
    drawn = []
    for at in (0, 0, 1):
        state = _start({"w": jnp.ones(())}, training, jnp.zeros(6))._replace(step=jnp.int32(at))
        state, metrics = step(state, jnp.ones(6), SEED)
        drawn.append(np.array(state.carry))
        assert float(metrics.figures["rows"]) == 3
    assert len(np.unique(drawn[0])) == 6
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.any(drawn[0] == drawn[2])


def _poisoned(model, batch, carry, *, rngs, step):
    return Loss((model["w"] * batch).sum(), jnp.float32(len(batch)), carry + batch)


def test_a_micro_batch_that_is_not_finite_skips_the_whole_step_once():
    training = _training(accumulate=2)
    step = _step(_poisoned, lambda params: params, training)
    state = _start({"w": jnp.ones(())}, training, jnp.zeros(4))
    for batch, skipped in (([1.0, 2, jnp.nan, 4], 1), ([1.0, jnp.nan, 3, 4], 2)):
        state, metrics = step(state, jnp.array(batch), SEED)
        assert (int(metrics.skipped), float(state.params["w"])) == (skipped, 1)
    assert int(state.step) == 2
    np.testing.assert_array_equal(state.carry, [2, 0, 3, 8])


def test_the_penalty_counts_once():
    """w - (mean(batch) + d penalty / dw), with a weight for each row and a penalty of 3 w."""
    training = _training(accumulate=4)
    step = _step(_poisoned, lambda params: params, training, penalty=lambda params: 3 * params["w"])
    state, metrics = step(_start({"w": jnp.float32(2)}, training, jnp.zeros(8)), jnp.arange(8.0), SEED)
    np.testing.assert_allclose(state.params["w"], 2 - (3.5 + 3), rtol=1e-6)
    np.testing.assert_allclose(metrics.loss, 2 * 3.5, rtol=1e-6)


def test_running_statistics_follow_one_micro_batch_after_another():
    """A block of its own width, whose first norm reads the inputs; rows i, i + 2, ... are a micro-batch."""
    rows = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    merge, params = split_model(
        ManyToOne(4, 1, cell="rnn", features=4, layers=1, block="prenorm", norm="batch", rngs=nnx.Rngs(0))
    )

    def loss(model, batch, carry, *, rngs, step):
        return Loss(jnp.square(model(batch, rngs=rngs)).sum(), jnp.float32(batch.shape[1]), carry)

    training = _training(accumulate=2)
    state, _ = _step(loss, merge, training)(_start(params, training), jnp.asarray(rows), SEED)
    mean, variance = np.zeros(4), np.ones(4)
    for part in (0, 1):
        own = rows[:, part::2].reshape(-1, 4)
        mean, variance = 0.95 * mean + 0.05 * own.mean(0), 0.95 * variance + 0.05 * own.var(0)
    np.testing.assert_allclose(state.params["stack/prenorm/blocks/0/norm/mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(state.params["stack/prenorm/blocks/0/norm/var"], variance, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "devices", "message"),
    [
        ({"accumulate": 3}, 1, r"accumulate: 3 micro-batches, .*batch_size=64 is not a multiple of 3"),
        ({"accumulate": 4}, 32, r"accumulate: 4 micro-batches over 32 devices, .* is not a multiple of 128"),
    ],
)
def test_micro_batches_that_do_not_divide_the_batch_are_refused(fields, devices, message):
    with pytest.raises(UserError, match=message):
        check_accumulate(_training(**fields), devices)


def test_a_run_checks_its_micro_batches_before_it_starts(tmp_path):
    task = kinds.make("lag", tmp_path).task
    task.config.training.accumulate = 3
    with pytest.raises(UserError, match=r"config\.training\.accumulate: 3"):
        Programs(task)


@pytest.mark.nightly
def test_devices_share_every_micro_batch(tiny_config, tiny_data, tmp_path):
    """The losses of 4 devices, each with rows of both micro-batches, are those of one device and whole batches."""
    without = {f"model__{side}__dropout": 0.0 for side in ("encoder", "decoder")}
    train(tiny_config(training__schedule="constant", **without), tmp_path / "alone")
    flags = [f"--config.{name.replace('__', '.')}={value}" for name, value in without.items()]
    flags += ["--config.training.schedule=constant", "--config.training.accumulate=2"]
    process = tiny.train(tiny_data, tmp_path / "shared", *flags, devices=4)
    assert process.wait() == 0, process.stderr.read()
    alone, shared = (_losses(tmp_path / name) for name in ("alone", "shared"))
    np.testing.assert_allclose(shared, alone, atol=1e-5)


def _losses(folder):
    lines = (folder / "metrics.csv").read_text().splitlines()
    return [float(line.split(",")[-1]) for line in lines if ",train,loss," in line]
