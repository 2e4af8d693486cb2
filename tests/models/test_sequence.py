import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from oracle import assert_close

from rnnlab.models import ManyToMany, ManyToOne

INPUTS = jax.random.normal(jax.random.key(0), (6, 3, 4))
LENGTHS = jnp.array([6, 1, 3])


def test_many_to_one_reads_the_last_step_of_each_sequence():
    model = ManyToOne(4, 2, cell="gru", features=5, rngs=nnx.Rngs(0))
    answers = model(INPUTS, LENGTHS)
    assert answers.shape == (3, 2)
    for row, length in enumerate(LENGTHS):
        assert_close(answers[row], model(INPUTS[:length, row : row + 1])[0])


def test_many_to_many_answers_every_step_from_what_came_before():
    model = ManyToMany(4, 2, cell="lstm", features=5, rngs=nnx.Rngs(0))
    answers = model(INPUTS)
    assert answers.shape == (6, 3, 2)
    changed = model(INPUTS.at[3:].add(1.0))
    assert_close(changed[:3], answers[:3])
    assert not np.allclose(changed[3], answers[3])


def test_a_classifier_learns_which_of_two_steps_is_larger():
    inputs = jax.random.normal(jax.random.key(1), (2, 256, 1))
    labels = (inputs[0] > inputs[1])[:, 0].astype(jnp.int32)
    graph, params = nnx.split(ManyToOne(1, 2, cell="rnn", features=8, rngs=nnx.Rngs(0)))
    optimizer = optax.adam(3e-2)

    def loss(params):
        logits = nnx.merge(graph, params)(inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(100):
        params, state = step(params, state)
    assert float((nnx.merge(graph, params)(inputs).argmax(-1) == labels).mean()) > 0.97
