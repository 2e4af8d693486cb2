import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from oracle import assert_close

from rnnlab.losses import (
    absolute_error,
    binary_cross_entropy,
    cross_entropy,
    length_weights,
    normal_loss,
    quantile_loss,
    squared_error,
    student_loss,
)

LOGITS = 3 * jax.random.normal(jax.random.key(0), (5, 3, 7))
LABELS = jax.random.randint(jax.random.key(1), (5, 3), 0, 7)
LENGTHS = jnp.array([5, 0, 2])
WITHIN = length_weights(LENGTHS, 5)
WEIGHTS = jax.random.uniform(jax.random.key(2), (5, 3)) * WITHIN


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_the_smoothed_targets_within_the_lengths(smoothing):
    targets = optax.smooth_labels(jax.nn.one_hot(LABELS, 7), smoothing)
    every = optax.softmax_cross_entropy(LOGITS, targets)
    wanted = sum(every[:length, row].sum() for row, length in enumerate(LENGTHS))
    assert_close(cross_entropy(LOGITS, LABELS, WITHIN, smoothing=smoothing), wanted)
    assert_close(cross_entropy(LOGITS, LABELS, WEIGHTS, smoothing=smoothing), np.sum(every * WEIGHTS))


def test_a_squared_error_is_that_of_numpy():
    numbers = np.asarray(LOGITS[..., :2])
    wanted = np.sum(np.asarray(WEIGHTS) * (numbers[..., 0] - numbers[..., 1]) ** 2)
    assert_close(squared_error(LOGITS[..., 0], LOGITS[..., 1], WEIGHTS), wanted)


@pytest.mark.parametrize("odd", [jnp.inf, jnp.nan])
def test_what_has_no_weight_may_be_anything(odd):
    logits = jnp.where(WITHIN[..., None], LOGITS, odd)
    assert_close(cross_entropy(logits, LABELS, WITHIN), cross_entropy(LOGITS, LABELS, WITHIN))
    assert_close(squared_error(logits[..., 0], LOGITS[..., 1], WITHIN), squared_error(*LOGITS[..., :2].T, WITHIN.T))


def test_padding_has_no_gradient():
    gradient = jax.grad(cross_entropy)(LOGITS, LABELS, WITHIN)
    assert not np.any(gradient[:, 1])
    assert not np.any(gradient[2:, 2])
    assert np.all(np.any(gradient[:, 0], axis=-1))


def test_logits_of_bfloat16_are_summed_in_float32():
    rounded = LOGITS.astype(jnp.bfloat16)
    assert_close(cross_entropy(rounded, LABELS, WITHIN), cross_entropy(rounded.astype(jnp.float32), LABELS, WITHIN))


def test_binary_cross_entropy_is_the_likelihood_of_every_label_of_the_steps_that_count():
    logits, labels = np.random.default_rng(0).normal(size=(3, 2, 4)) * 30, np.arange(24).reshape(3, 2, 4) % 2
    weights = np.array([[1, 1], [1, 0], [0, 0]], bool)
    p = scipy.special.log_expit(np.where(labels, logits, -logits)).sum(-1)
    found = binary_cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), jnp.asarray(weights))
    np.testing.assert_allclose(found, -p[weights].sum(), rtol=1e-5)


def test_an_absolute_error_is_that_of_numpy():
    numbers = np.asarray(LOGITS[..., :2])
    wanted = np.sum(np.asarray(WEIGHTS) * np.abs(numbers[..., 0] - numbers[..., 1]))
    assert_close(absolute_error(LOGITS[..., 0], LOGITS[..., 1], WEIGHTS), wanted)


def test_the_quantile_loss_is_least_at_the_quantiles_of_the_labels():
    labels = jnp.asarray(np.random.default_rng(0).gamma(2, size=999), jnp.float32)
    levels = (0.1, 0.5, 0.8)

    def loss(outputs):
        every = jnp.broadcast_to(jnp.stack(outputs), (999, 3))
        return float(quantile_loss(every, labels, jnp.ones(999), jnp.array(levels)))

    best = [np.quantile(labels, level) for level in levels]
    for index in range(3):
        for change in (-0.1, 0.1):
            moved = [value + change * (place == index) for place, value in enumerate(best)]
            assert loss(best) < loss(moved)
    errors = [(level - (labels < value)) * (labels - value) for level, value in zip(levels, best, strict=True)]
    assert loss(best) == pytest.approx(float(sum(error.sum() for error in errors)) / 3, rel=1e-5)


def test_losses_of_distributions_are_those_of_scipy():
    mean, raw, labels = np.moveaxis(np.asarray(LOGITS[..., :3], np.float64), -1, 0)
    scale, freedom, weights = np.exp(0.3 * raw), 2 + np.abs(raw), np.asarray(WEIGHTS)
    normal = -(weights * scipy.stats.norm(mean, scale).logpdf(labels)).sum()
    student = -(weights * scipy.stats.t(freedom, mean, scale).logpdf(labels)).sum()
    mean, scale, freedom, labels = (jnp.asarray(each, jnp.float32) for each in (mean, scale, freedom, labels))
    assert float(normal_loss(mean, scale, labels, WEIGHTS)) == pytest.approx(normal, rel=1e-5)
    assert float(student_loss(mean, scale, freedom, labels, WEIGHTS)) == pytest.approx(student, rel=1e-5)
