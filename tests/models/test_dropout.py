import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.models.dropout import draw_mask
from rnnlab.scans.product import apply_mask


def test_a_share_of_the_rate_is_dropped_and_the_rest_scaled_to_keep_the_mean():
    mask = draw_mask(nnx.Rngs(dropout=jax.random.key(0)), 0.3, (400, 500))
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs(float((mask == 0).mean()) - 0.3) < 0.01
    np.testing.assert_array_equal(apply_mask(2 * jnp.ones_like(mask), mask), 2 * mask)


def test_nothing_is_drawn_in_evaluation_or_at_rate_zero():
    assert draw_mask(None, 0.5, (2, 2)) is None
    assert draw_mask(nnx.Rngs(dropout=0), 0.0, (2, 2)) is None
    x = jnp.arange(3.0)
    assert apply_mask(x, None) is x


def test_a_variational_mask_is_the_same_at_every_step_and_another_for_every_sequence():
    mask = np.asarray(draw_mask(nnx.Rngs(dropout=0), 0.5, (7, 3, 40), variational=True))
    assert (mask == mask[:1]).all()
    assert len(np.unique(mask[0], axis=0)) == 3
    assert set(np.unique(mask)) == {np.float32(0), np.float32(2)}
