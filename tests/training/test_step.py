import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnnlab.data.pipeline import Pairs
from rnnlab.models import ManyToOne, Seq2Seq
from rnnlab.tasks.base import Loss
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training.optimizer import averaged, make_optimizer
from rnnlab.training.step import TrainState, make_train_step, split_model
from tests.runs import Poisonable, loss_of

SEED = jnp.uint32(0)
BATCH = jax.device_put(Pairs([[5, 6], [7]], [[4], [4, 6]]).assemble([0, 1], (3, 4), 3))


def _setup(dropout=0.0, **fields):
    side = {"embedding": 3, "cell": "gru", "features": 4, "dropout": dropout}
    merge, params = split_model(Seq2Seq(9, 8, encoder=side, decoder=side, rngs=nnx.Rngs(0)))
    config = default_config()
    config.training.update({"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.1} | fields)
    optimizer = make_optimizer(config.training)
    step = make_train_step(loss_of(config), merge, optimizer, config.training)

    def run(at=0):
        copied = jax.tree.map(jnp.copy, params)  # the step is given its state for good
        return step(TrainState.start(copied, optimizer)._replace(step=jnp.int32(at)), BATCH, SEED)

    return merge, params, run


def _mean_loss(merge, params):
    logits = merge(params)(BATCH.source, BATCH.source_lengths, BATCH.inputs)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, BATCH.labels)
    return (losses[:2, 0].sum() + losses[:3, 1].sum()) / 5


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_a_step_follows_the_mean_loss_per_label_clipped_to_the_limit(limit):
    merge, params, run = _setup(clip_global_norm=limit)
    loss, gradient = jax.value_and_grad(lambda p: _mean_loss(merge, p))(params)
    state, metrics = run()
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradient.values()))
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.gradient_norm, norm, rtol=1e-4)
    assert bool(metrics.clipped) == (norm > limit)
    assert int(metrics.weight) == 5
    assert int(state.step) == 1
    for name, value in params.items():
        moved = value - 0.1 * min(1, limit / norm) * gradient[name]
        np.testing.assert_allclose(state.params[name], moved, rtol=1e-4, atol=1e-6)


def test_dropout_follows_from_the_number_of_the_step_alone():
    _, _, run = _setup(dropout=0.5)
    losses = [float(run(at)[1].loss) for at in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_parameters_are_named_by_their_path_and_merge_puts_them_back():
    merge, params, _ = _setup()
    assert "encoder/embedding/embedding" in params
    doubled = {name: 2 * value for name, value in params.items()}
    assert all(np.array_equal(v, doubled[n]) for n, v in split_model(merge(doubled))[1].items())


def test_the_share_of_forced_inputs_is_that_of_the_step():
    """Linear from 1 at step 0 down to 0 at step 5, beside a share of 1 and one of 0 at every step."""
    side = {"embedding": 3, "cell": "gru", "features": 4}
    losses = {}
    for share, decay in ((1.0, "none"), (0.0, "none"), (0.0, "linear:0.2")):
        merge, params = split_model(Seq2Seq(9, 8, encoder=side, decoder=side, teacher_forcing=share, rngs=nnx.Rngs(0)))
        config = default_config()
        config.training.teacher_forcing_decay, config.model.teacher_forcing = decay, share
        optimizer = make_optimizer(config.training)
        step = make_train_step(loss_of(config), merge, optimizer, config.training)
        for at in (0, 9):
            copied = jax.tree.map(jnp.copy, params)
            state = TrainState.start(copied, optimizer)._replace(step=jnp.int32(at))
            losses[share, decay, at] = float(step(state, BATCH, SEED)[1].loss)
    forced, free = losses[1.0, "none", 0], losses[0.0, "none", 0]
    assert forced != pytest.approx(free, rel=1e-4)
    assert losses[0.0, "linear:0.2", 0] == pytest.approx(forced, rel=1e-5)
    assert losses[0.0, "linear:0.2", 9] == pytest.approx(free, rel=1e-5)


def test_what_a_loss_carries_is_given_to_the_next_step_and_is_0_where_it_is_not_finite():
    """A sum of all batches so far: after a skipped step the next one follows its data, not those before them."""

    def loss(model, batch, carry, *, rngs, step):
        total = carry + batch
        return Loss((model["w"] * batch).sum(), jnp.float32(1), total, {"carried": total.sum()})

    training = default_config().training
    optimizer = make_optimizer(training)
    step = make_train_step(loss, lambda params: params, optimizer, training)
    state = TrainState.start({"w": jnp.ones(3)}, optimizer, jnp.zeros(3))
    carried = []
    for value in (1.0, 2.0, jnp.nan, 4.0):
        state, metrics = step(state, jnp.full(3, value), SEED)
        carried.append((float(state.carry[0]), float(metrics.figures["carried"])))
    assert [own for own, _ in carried] == [1, 3, 0, 4]
    assert carried[-1][1] == 12


def test_the_average_is_of_the_parameters_that_are_used_those_within_their_constraint():
    """Weights decay^(n - i) over what the parameters were after each step that counted; a skipped step has none."""
    config = default_config()
    config.training.update({"optimizer": "sgd", "schedule": "constant", "learning_rate": 5.0, "average_decay": 0.7})
    optimizer = make_optimizer(config.training)

    def merge(params):
        return Poisonable(params["w"], jnp.nan)

    def constrain(params):
        return jax.tree.map(lambda w: w * jnp.minimum(1, 0.5 / jnp.linalg.norm(w)), params)

    step = make_train_step(loss_of(config), merge, optimizer, config.training, constrain=constrain)
    batch = BATCH._replace(source=jnp.ones_like(BATCH.source[:1]), inputs=BATCH.inputs[:1], labels=BATCH.labels[:1] % 3)
    batch = batch._replace(target_lengths=jnp.minimum(batch.target_lengths, 1))
    state, seen = TrainState.start({"w": jnp.array([0.1, 0.2, 0.0])}, optimizer), []
    assert state.evaluated["w"] is state.params["w"]  # before the first step there is nothing to average
    for poison in (2, 1, 1, 2, 1):
        state, metrics = step(state, batch._replace(source=poison * batch.source), SEED)
        if not metrics.skipped:
            seen.append(np.array(state.params["w"]))
    assert len(seen) == 3
    assert np.linalg.norm(seen, axis=1) == pytest.approx([0.5] * 3, rel=1e-5)
    weights = 0.7 ** np.arange(3)[::-1]
    np.testing.assert_allclose(state.evaluated["w"], weights @ seen / weights.sum(), rtol=1e-5)
    assert averaged(state.optimizer) is not None


MOMENTUM = 0.95
NORMED = {"cell": "rnn", "features": 4, "layers": 1, "block": "prenorm", "norm": "batch"}
LENGTHS = np.array([5, 2, 0])
ROWS = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
FIRST = "stack/prenorm/blocks/0/norm"


def _normed_step(*, frozen=frozenset(), **fields):
    """A step of a regression by a block with batch norm, and its state before the first step."""

    def loss(model, batch, carry, *, rngs, step):
        inputs, scale = batch
        answers = model(inputs, jnp.asarray(LENGTHS), rngs=rngs)
        return Loss(scale * (answers**2).sum(), jnp.float32(3), carry)

    merge, params = split_model(ManyToOne(4, 2, rngs=nnx.Rngs(0), **NORMED))
    training = default_config().training
    training.update({"optimizer": "adamw", "weight_decay": 0.5, "learning_rate": 0.1, "schedule": "constant"} | fields)
    optimizer = make_optimizer(training)
    step = make_train_step(loss, merge, optimizer, training, frozen=frozen)
    return step, TrainState.start(jax.tree.map(jnp.copy, params), optimizer)


def _moments(rows):
    """Mean and variance by feature of all steps within a sequence."""
    inside = rows[np.arange(5)[:, None] < LENGTHS].astype(np.float64)
    return inside.mean(0), inside.var(0)


def _follow(moments, *, momentum=MOMENTUM):
    """Running mean and variance after each batch, from 0 and 1."""
    mean, variance, found = np.zeros(4), np.ones(4), []
    for batch_mean, batch_variance in moments:
        mean = momentum * mean + (1 - momentum) * batch_mean
        variance = momentum * variance + (1 - momentum) * batch_variance
        found.append((mean, variance))
    return found


def test_running_statistics_follow_the_batches_whatever_the_optimizer_does():
    """The first norm reads the inputs themselves; batches of other scales, padding that is full of NaN."""
    step, state = _normed_step()
    scales = (1.0, 3.0, 0.5)
    inside = (np.arange(5)[:, None] < LENGTHS)[..., None]
    wanted = _follow(_moments(scale * ROWS + scale) for scale in scales)
    for scale, (mean, variance) in zip(scales, wanted, strict=True):
        batch = jnp.where(inside, scale * ROWS + scale, jnp.nan), jnp.float32(1)
        state, metrics = step(state, batch, SEED)
        assert int(metrics.skipped) == 0
        np.testing.assert_allclose(state.params[f"{FIRST}/mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(state.params[f"{FIRST}/var"], variance, rtol=1e-5)


def test_statistics_stay_as_they_were_in_a_step_that_does_not_count_and_where_they_are_frozen():
    step, state = _normed_step()
    before = jax.tree.map(np.array, state.params)
    state, metrics = step(state, (ROWS, jnp.float32(np.nan)), SEED)
    assert int(metrics.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, dict(state.params), before)
    step, state = _normed_step(frozen=frozenset({f"{FIRST}/mean"}))
    state, _ = step(state, (ROWS, jnp.float32(1)), SEED)
    assert not np.any(state.params[f"{FIRST}/mean"])
    np.testing.assert_allclose(state.params[f"{FIRST}/var"], _follow([_moments(ROWS)])[0][1], rtol=1e-5)


def test_several_steps_in_a_call_leave_the_statistics_of_as_many_calls_and_their_average():
    batches = [(scale * ROWS, jnp.float32(1)) for scale in (1.0, 2.0)]
    step, state = _normed_step(steps_per_call=2, average_decay=0.5)
    state, _ = step(state, jax.tree.map(lambda *parts: jnp.stack(parts), *batches), SEED)
    first, second = _follow(_moments(scale * ROWS) for scale in (1.0, 2.0))
    np.testing.assert_allclose(state.params[f"{FIRST}/var"], second[1], rtol=1e-5)
    average = (0.5 * first[0] + second[0]) / 1.5
    np.testing.assert_allclose(state.evaluated[f"{FIRST}/mean"], average, rtol=1e-5)


def test_running_statistics_have_no_part_in_the_gradient_and_its_norm():
    step, state = _normed_step()
    norms = []
    for shift in (0.0, 5.0):
        moved = {n: v + shift if n.endswith(("/mean", "/var")) else jnp.copy(v) for n, v in state.params.items()}
        norms.append(float(step(state._replace(params=moved), (ROWS, jnp.float32(1)), SEED)[1].gradient_norm))
        _, state = _normed_step()
    assert norms[0] == norms[1] > 0
