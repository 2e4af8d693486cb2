import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module

from rnnlab.models.alignment import MonotonicDecoder
from rnnlab.models.attention import ATTENTIONS
from rnnlab.models.decoder import CONTEXTS, Decoder
from tests import nightly

SOURCE, TARGET, BATCH, MEMORY, VOCABULARY = 5, 4, 3, 6, 9
VALID = jnp.arange(SOURCE)[:, None] < jnp.array([5, 2, 3])
CHOICES = [pair for pair in itertools.product(ATTENTIONS, CONTEXTS) if pair != ("monotonic", "every_step")]
TARGETS = jax.random.randint(jax.random.key(0), (TARGET, BATCH), 4, VOCABULARY)


def _decoder(**options):
    sizes = {"embedding": 5, "features": 6, "cell": "gru", "layers": 2}
    kind, options = Decoder, sizes | options
    if options.get("attention") == "monotonic":
        kind = MonotonicDecoder
        del options["attention"]
    return draw_module(lambda: kind(VOCABULARY, MEMORY, rngs=nnx.Rngs(0), **options))


def _memory(decoder):
    outputs = jax.random.normal(jax.random.key(1), (SOURCE, BATCH, MEMORY)) * VALID[..., None]
    return decoder.remember(outputs, VALID, outputs[0])


def _start(decoder):
    memory = _memory(decoder)
    return memory, decoder.start(decoder.stack.initial_states(BATCH), memory)


@nnx.jit
def _forced(decoder, *given, **options):
    return decoder.teacher_forced(*given, **options)


@nnx.jit
def _step(decoder, *given):
    return decoder.step(*given)


BLOCKS: list[dict] = [{"block": "prenorm"}, {"block": "residual", "sizes": "7,3"}]
ATTENDING = [
    *((attention, {}) for attention in ATTENTIONS if attention != "dot"),  # which needs the encoder's size
    ("none", {"context": "every_step", "tied_embeddings": True}),
    ("general", {"input_feeding": True}),
]


@pytest.mark.parametrize("block", [BLOCKS[0], *nightly.only(BLOCKS[1])], ids=str)
@pytest.mark.parametrize(("attention", "options"), ATTENDING, ids=str)
def test_step_by_step_is_the_same_as_at_once_with_every_block(attention, options, block):
    decoder = _decoder(attention=attention, **options, **block)
    memory, states = _start(decoder)
    logits, _ = _forced(decoder, TARGETS, states, memory)
    for time, tokens in enumerate(TARGETS):
        states, (one, _) = _step(decoder, states, tokens, memory)
        assert_close(logits[time], one)


def test_batch_norm_is_refused_in_a_decoder():
    with pytest.raises(ValueError, match="norm: 'batch' would leak later steps into a decoder's step; use 'layer'"):
        _decoder(block="prenorm", norm="batch")


@pytest.mark.parametrize(("attention", "context"), CHOICES)
def test_a_known_target_at_once_is_the_same_as_step_by_step(attention, context):
    decoder = _decoder(attention=attention, context=context)
    memory, states = _start(decoder)
    logits, weights = _forced(decoder, TARGETS, states, memory)
    for time, tokens in enumerate(TARGETS):
        states, (one, one_weights) = _step(decoder, states, tokens, memory)
        assert_close(logits[time], one)
        if attention != "none":
            assert_close(weights[time], one_weights)
    assert (weights is None) == (attention == "none")


@pytest.mark.parametrize(("attention", "context"), CHOICES)
def test_what_the_decoder_reads_of_the_source_is_what_its_options_say(attention, context):
    decoder = _decoder(attention=attention, context=context)
    memory, states = _start(decoder)

    def total(context, outputs):
        own = memory._replace(context=context, outputs=outputs)
        return decoder.teacher_forced(TARGETS, states, own)[0].sum()

    of_context, of_outputs = jax.jit(jax.grad(total, (0, 1)))(memory.context, memory.outputs)
    assert bool(np.any(of_context)) == (context == "every_step")
    assert bool(np.any(of_outputs)) == (attention != "none")
    assert not np.any(np.where(VALID[..., None], 0, of_outputs))


@pytest.mark.parametrize("attention", ["general", "monotonic"])
def test_sampling_with_every_step_forced_is_teacher_forcing_and_with_none_is_greedy(attention):
    """Greedy as a search is: what it never predicts, here the two most likely tokens of all, is never read."""
    decoder = _decoder(attention=attention, never_predicted=(0, 1))
    decoder.output.bias[...] = decoder.output.bias.at[:2].set(9.0)
    memory, states = _start(decoder)
    forced = _forced(decoder, TARGETS, states, memory, forced=jnp.ones((TARGET, BATCH), bool))[0]
    assert_close(forced, _forced(decoder, TARGETS, states, memory)[0])
    free = _forced(decoder, TARGETS, states, memory, forced=jnp.zeros((TARGET, BATCH), bool))[0]
    tokens = TARGETS[0]
    for logits in free:
        states, (wanted, _) = _step(decoder, states, tokens, memory)
        assert_close(logits, wanted)
        tokens = 2 + wanted[:, 2:].argmax(-1)


def test_tied_embeddings_are_the_output_matrix_also_when_the_sizes_differ():
    same = _decoder(embedding=6, tied_embeddings=True)
    memory, states = _memory(same), same.stack.initial_states(BATCH)
    hidden, _ = same.stack(same.embedding(TARGETS), states)
    wanted = hidden @ same.embedding.embedding[...].T + same.output_bias[...]
    assert_close(_forced(same, TARGETS, states, memory)[0], wanted)
    other = _decoder(embedding=5, tied_embeddings=True)
    wanted = other.narrow(other.stack(other.embedding(TARGETS), states)[0]) @ other.embedding.embedding[...].T
    assert_close(_forced(other, TARGETS, states, _memory(other))[0], wanted + other.output_bias[...])


def test_unknown_attention_and_context_are_refused_with_the_list():
    with pytest.raises(ValueError, match="attention: unknown value 'luong'; allowed: none, dot, general, additive"):
        _decoder(attention="luong")
    with pytest.raises(ValueError, match="context: unknown value 'always'; allowed: init, every_step"):
        _decoder(context="always")


def test_input_feeding_is_what_attention_made_of_a_step_beside_the_next_embedding():
    """Luong et al. 2015, section 3.3, written out step by step."""
    decoder = _decoder(attention="general", input_feeding=True, layers=1)
    memory, states = _start(decoder)
    logits, weights = _forced(decoder, TARGETS, states, memory)
    (own,), fed = decoder.stack.initial_states(BATCH), jnp.zeros((BATCH, 6))
    for time, tokens in enumerate(TARGETS):
        states, (one, _) = _step(decoder, states, tokens, memory)
        assert_close(logits[time], one)
        read = jnp.concatenate([decoder.embedding(tokens), fed], axis=-1)[None]
        hidden, (own,) = decoder.stack(read, (own,))
        found, looked = decoder.attention(hidden, memory.keys, memory.outputs, memory.valid)
        fed = jnp.tanh(decoder.mix(jnp.concatenate([found, hidden], axis=-1)))[0]
        assert_close(logits[time], decoder.output(fed))
        assert_close(weights[time], looked[0])


@pytest.mark.parametrize("attention", ["none", "additive", "monotonic"])
def test_input_feeding_needs_an_attention_that_comes_after_the_step(attention):
    with pytest.raises(ValueError, match=f"input_feeding: requires attention dot or general, not '{attention}'"):
        _decoder(attention=attention, input_feeding=True)


@pytest.mark.parametrize(
    "options",
    [
        *nightly.only({"attention": "general", "input_feeding": True}),
        {"attention": "monotonic"},
        *nightly.only({"attention": "general"}, {"attention": "general", "block": "prenorm"}),
    ],
    ids=["input_feeding", "monotonic", "general", "prenorm"],
)
def test_noise_falls_alike_on_a_target_at_once_and_step_by_step(options):
    """What is read by guesses runs through a loop over steps; with every step forced it must change nothing."""
    noise = {"dropout": 0.3, "output_dropout": 0.4, "variational": True, "recurrent_dropout": 0.2, "zoneout": 0.3}
    decoder = _decoder(**options, **noise)
    memory, states = _start(decoder)
    both = [
        _forced(decoder, TARGETS, states, memory, forced=forced, rngs=nnx.Rngs(dropout=1))[0]
        for forced in (None, jnp.ones((TARGET, BATCH), bool))
    ]
    assert_close(*both)
    assert not np.allclose(both[0], _forced(decoder, TARGETS, states, memory)[0])
    free = _forced(decoder, TARGETS, states, memory, forced=jnp.zeros((TARGET, BATCH), bool), rngs=nnx.Rngs(dropout=1))[
        0
    ]
    guessed = jnp.concatenate([TARGETS[:1], free[:-1].argmax(-1)])
    assert_close(free, _forced(decoder, guessed, states, memory, rngs=nnx.Rngs(dropout=1))[0])
