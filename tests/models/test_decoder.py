import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.models.attention import ATTENTIONS
from rnnlab.models.decoder import CONTEXTS, Decoder

SOURCE, TARGET, BATCH, MEMORY, VOCABULARY = 5, 4, 3, 6, 9
VALID = jnp.arange(SOURCE)[:, None] < jnp.array([5, 2, 3])
TARGETS = jax.random.randint(jax.random.key(0), (TARGET, BATCH), 4, VOCABULARY)


def _decoder(**options):
    sizes = {"embedding": 5, "features": 6, "cell": "gru", "layers": 2}
    return Decoder(VOCABULARY, MEMORY, rngs=nnx.Rngs(0), **(sizes | options))


def _memory(decoder):
    outputs = jax.random.normal(jax.random.key(1), (SOURCE, BATCH, MEMORY)) * VALID[..., None]
    return decoder.remember(outputs, VALID, outputs[0])


@pytest.mark.parametrize(("attention", "context"), itertools.product(ATTENTIONS, CONTEXTS))
def test_a_known_target_at_once_is_the_same_as_step_by_step(attention, context):
    decoder = _decoder(attention=attention, context=context)
    memory, states = _memory(decoder), decoder.stack.initial_states(BATCH)
    logits, weights = decoder.teacher_forced(TARGETS, states, memory)
    for time, tokens in enumerate(TARGETS):
        states, (one, one_weights) = decoder.step(states, tokens, memory)
        assert_close(logits[time], one)
        if attention != "none":
            assert_close(weights[time], one_weights)
    assert (weights is None) == (attention == "none")


@pytest.mark.parametrize(("attention", "context"), itertools.product(ATTENTIONS, CONTEXTS))
def test_what_the_decoder_reads_of_the_source_is_what_its_options_say(attention, context):
    decoder = _decoder(attention=attention, context=context)
    memory, states = _memory(decoder), decoder.stack.initial_states(BATCH)
    gradient = jax.grad(lambda m: decoder.teacher_forced(TARGETS, states, m)[0].sum(), allow_int=True)(memory)
    assert bool(np.any(gradient.context)) == (context == "every_step")
    assert bool(np.any(gradient.outputs)) == (attention != "none")
    assert not np.any(np.where(VALID[..., None], 0, gradient.outputs))


def test_sampling_with_every_step_forced_is_teacher_forcing_and_with_none_is_greedy():
    decoder = _decoder(attention="general")
    memory, states = _memory(decoder), decoder.stack.initial_states(BATCH)
    forced = decoder.teacher_forced(TARGETS, states, memory, forced=jnp.ones((TARGET, BATCH), bool))[0]
    assert_close(forced, decoder.teacher_forced(TARGETS, states, memory)[0])
    free = decoder.teacher_forced(TARGETS, states, memory, forced=jnp.zeros((TARGET, BATCH), bool))[0]
    tokens = TARGETS[0]
    for logits in free:
        states, (wanted, _) = decoder.step(states, tokens, memory)
        assert_close(logits, wanted)
        tokens = wanted.argmax(-1)


def test_tied_embeddings_are_the_output_matrix_also_when_the_sizes_differ():
    same = _decoder(embedding=6, tied_embeddings=True)
    memory, states = _memory(same), same.stack.initial_states(BATCH)
    hidden, _ = same.stack(same.embedding(TARGETS), states)
    wanted = hidden @ same.embedding.embedding[...].T + same.output_bias[...]
    assert_close(same.teacher_forced(TARGETS, states, memory)[0], wanted)
    other = _decoder(embedding=5, tied_embeddings=True)
    wanted = other.narrow(other.stack(other.embedding(TARGETS), states)[0]) @ other.embedding.embedding[...].T
    assert_close(other.teacher_forced(TARGETS, states, _memory(other))[0], wanted)


def test_unknown_attention_and_context_are_refused_with_the_list():
    with pytest.raises(ValueError, match="attention: unknown value 'luong'; allowed: none, dot, general, additive"):
        _decoder(attention="luong")
    with pytest.raises(ValueError, match="context: unknown value 'always'; allowed: init, every_step"):
        _decoder(context="always")
