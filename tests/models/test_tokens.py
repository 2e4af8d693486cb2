import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from oracle import assert_close

from rnnlab.models.tokens import TokenInputs, WordInputs, Words


def test_a_word_is_its_embedding_and_the_last_states_of_its_characters_in_both_directions():
    front = WordInputs(7, 9, 3, 2, rngs=nnx.Rngs(0))
    letters = jnp.array([[[4, 5, 6, 0], [8, 0, 0, 0]]])  # one step of two sequences
    found = front(Words(jnp.array([[5, 6]]), letters))
    assert found.shape == (1, 2, front.features)
    for column, spelled in enumerate([[4, 5, 6], [8]]):
        characters = front.characters(jnp.array(spelled))[:, None]
        forwards, backwards = front.spelling.layers[0]
        state = [forwards(characters)[1][0][0], backwards(characters, reverse=True)[1][0][0]]
        assert_close(found[0, column], jnp.concatenate([front.embedding(jnp.array(5 + column)), *state]))


def test_dropout_of_tokens_is_drawn_once_for_all_steps_where_it_is_variational():
    front = TokenInputs(5, 64, dropout=0.5, variational=True, rngs=nnx.Rngs(0))
    ids = jnp.tile(jnp.array([[1, 2]]), (3, 1))
    found = np.asarray(front(ids, rngs=nnx.Rngs(dropout=jax.random.key(1))))
    assert_close(found[0], found[2])
    assert 0.2 < (found == 0).mean() < 0.8
