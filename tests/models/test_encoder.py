import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module, run_module

from rnnlab.models.encoder import Encoder

SOURCE = jnp.array([[4, 5], [6, 7], [8, 0], [9, 0]])
LENGTHS = jnp.array([4, 2])


def _encoder(**options):
    sizes = {"embedding": 3, "cell": "lstm", "features": 4, "bidirectional": True}
    return draw_module(lambda: Encoder(12, rngs=nnx.Rngs(0), **sizes, **options))


@pytest.mark.parametrize("block", ["plain", "prenorm"])
def test_padding_and_neighbours_change_nothing(block):
    encoder = _encoder(block=block)
    outputs, states = run_module(encoder, SOURCE, LENGTHS)
    alone, alone_states = run_module(encoder, SOURCE[:2, 1:], LENGTHS[1:])
    assert_close(outputs[:2, 1], alone[:, 0])
    assert not np.any(outputs[2:, 1])
    assert_close([entry[1] for entry in states[-1]], [entry[0] for entry in alone_states[-1]])


def test_dropout_falls_on_the_embeddings_in_training_only():
    encoder = _encoder(dropout=0.5)
    still, _ = run_module(encoder, SOURCE, LENGTHS)
    assert_close(still, run_module(_encoder(), SOURCE, LENGTHS)[0])
    first, again, other = (
        run_module(encoder, SOURCE, LENGTHS, rngs=nnx.Rngs(dropout=jax.random.key(k)))[0] for k in (1, 1, 2)
    )
    assert_close(first, again)
    assert not np.allclose(first, still)
    assert not np.allclose(first, other)


def test_output_dropout_falls_on_the_outputs_alone():
    still, still_states = run_module(_encoder(), SOURCE, LENGTHS)
    outputs, states = run_module(_encoder(output_dropout=0.5), SOURCE, LENGTHS, rngs=nnx.Rngs(dropout=1))
    assert_close(list(states), list(still_states))
    ratio = np.asarray(outputs / np.where(still == 0, 1, still))
    assert set(np.unique(ratio.round(4))) == {0, 2}
