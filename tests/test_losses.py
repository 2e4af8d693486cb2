import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracle import assert_close

from rnnlab.losses import cross_entropy

LOGITS = 3 * jax.random.normal(jax.random.key(0), (5, 3, 7))
LABELS = jax.random.randint(jax.random.key(1), (5, 3), 0, 7)
LENGTHS = jnp.array([5, 0, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_the_smoothed_targets_within_the_lengths(smoothing):
    targets = optax.smooth_labels(jax.nn.one_hot(LABELS, 7), smoothing)
    every = optax.softmax_cross_entropy(LOGITS, targets)
    wanted = sum(every[:length, row].sum() for row, length in enumerate(LENGTHS))
    assert_close(cross_entropy(LOGITS, LABELS, LENGTHS, smoothing=smoothing), wanted)


def test_padding_has_no_gradient():
    gradient = jax.grad(cross_entropy)(LOGITS, LABELS, LENGTHS)
    assert not np.any(gradient[:, 1])
    assert not np.any(gradient[2:, 2])
    assert np.all(np.any(gradient[:, 0], axis=-1))


def test_logits_of_bfloat16_are_summed_in_float32():
    rounded = LOGITS.astype(jnp.bfloat16)
    assert_close(cross_entropy(rounded, LABELS, LENGTHS), cross_entropy(rounded.astype(jnp.float32), LABELS, LENGTHS))
