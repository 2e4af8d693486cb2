import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module, run_module

from rnnlab.models import ManyToMany, ManyToOne
from rnnlab.models.blocks import layer_sizes
from rnnlab.models.embedding import Lookup
from rnnlab.models.recurrent import Stack
from tests import nightly

INPUTS = jax.random.normal(jax.random.key(0), (6, 3, 4))
LENGTHS = jnp.array([6, 2, 4])
VALID = np.arange(6)[:, None] < np.asarray(LENGTHS)


def _stack(cell="gru", width=5, **options):
    """A stack of two pre-norm blocks whose parameters are all drawn, so that none is 0 or 1."""
    stack = draw_module(lambda: Stack(cell, 4, width, **{"layers": 2, "block": "prenorm"} | options, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(stack)
    key = iter(jax.random.split(jax.random.key(0), 99))
    drawn = jax.tree.map(lambda v: v + 0.3 * jnp.abs(jax.random.normal(next(key), v.shape)), state)
    return nnx.merge(graph, drawn)


def _erf_free_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _layer_norm(norm, x):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.epsilon)
    return scaled * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def _dense(linear, x):
    return x @ np.asarray(linear.kernel[...]) + np.asarray(linear.bias[...])


def _by_formula(stack, inputs, normalise, **segments):
    """The outputs of a stack of pre-norm blocks, its recurrences run one after the other."""
    around = stack.prenorm
    stream = inputs if around.encoder is None else _dense(around.encoder, inputs)
    for layer, block in zip(stack.layers, around.blocks, strict=True):
        normed = normalise(block.norm, stream)
        ahead = run_module(layer[0], jnp.asarray(normed), **segments)[0]
        each = [ahead, *(own(jnp.asarray(normed), reverse=True, **segments)[0] for own in layer[1:])]
        read = _dense(block.read, np.concatenate(each, axis=-1)) + np.asarray(block.skip[...]) * normed
        read = _erf_free_gelu(read)
        stream = stream + read / (1 + np.exp(-_dense(block.gate, read)))
    return normalise(around.norm, stream)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "width"), [*nightly.only(("gru", 4)), ("lstm", 5), *nightly.only(("s5", 6))])
def test_prenorm_blocks_follow_their_formula(cell, width, bidirectional):
    stack = _stack(cell, width, bidirectional=bidirectional)
    outputs, states = run_module(stack, INPUTS, seq_lengths=LENGTHS)
    wanted = _by_formula(stack, np.asarray(INPUTS), _layer_norm, seq_lengths=LENGTHS)
    assert_close(outputs, np.where(VALID[..., None], wanted, 0), 1e-4)
    assert outputs.shape[-1] == stack.out_features == width * (2 if bidirectional else 1)
    assert {entry.shape for state in states for entry in state} == {(3, stack.out_features)}


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_the_padding_of_prenorm_blocks_changes_neither_values_nor_gradients(norm):
    stack = _stack(norm=norm, bidirectional=True)
    graph, state = nnx.split(stack)

    @jax.jit
    @jax.value_and_grad
    def loss(state, inputs):
        stack = nnx.merge(graph, state)
        outputs, finals = stack(inputs, seq_lengths=LENGTHS, noise=stack.draw(nnx.Rngs(dropout=0), 6, 3))
        return (outputs**2).sum() + sum(jnp.sin(entry).sum() for final in finals for entry in final)

    other = jnp.where(VALID[..., None], INPUTS, jnp.nan)
    value, gradient = loss(state, INPUTS)
    assert_close(loss(state, other), (value, gradient))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(nnx.filter_state(gradient, nnx.Param)))


@pytest.mark.parametrize("width", [4, 5])
def test_prenorm_blocks_read_ids_as_one_hot_vectors_and_a_lookup_as_its_rows(width):
    stack, ids = _stack(width=width), jnp.array([[0, 1], [3, 2], [1, 1]])
    assert_close(run_module(stack, ids)[0], run_module(stack, jax.nn.one_hot(ids, 4))[0])
    table = jax.random.normal(jax.random.key(2), (9, 4))
    assert_close(run_module(stack, Lookup(ids, table))[0], run_module(stack, table[ids])[0])


def test_dropout_falls_on_what_each_prenorm_block_adds_and_not_on_what_runs_through():
    stack = _stack(dropout=0.5, variational=True)
    noise = stack.draw(nnx.Rngs(dropout=1), 6, 3)
    masks, _ = noise.steps
    assert [mask.shape for mask in masks] == [(6, 3, 5)] * 2
    nothing = noise._replace(steps=([jnp.zeros_like(mask) for mask in masks], noise.steps[1]))
    around = stack.prenorm
    assert_close(stack(INPUTS, noise=nothing)[0], around.norm(around.encoder(INPUTS)))
    (first, second), (one, two) = stack.layers, around.blocks
    stream = around.encoder(INPUTS)
    stream += masks[0] * one.after(one.norm(stream), first[0](one.norm(stream))[0])
    stream += masks[1] * two.after(two.norm(stream), second[0](two.norm(stream))[0])
    assert_close(stack(INPUTS, noise=noise)[0], around.norm(stream))


@pytest.mark.parametrize("cell", ["gru", "min_gru", "lru"])
def test_states_of_prenorm_blocks_handed_on_continue_the_run(cell):
    stack = _stack(cell)
    whole, finals = run_module(stack, INPUTS)
    first, between = run_module(stack, INPUTS[:2])
    second, last = run_module(stack, INPUTS[2:], between)
    assert_close((jnp.concatenate([first, second]), last), (whole, finals))


def test_many_to_one_reads_prenorm_blocks_at_the_last_step_and_backwards_at_the_first():
    model = ManyToOne(4, 2, cell="gru", features=3, layers=2, block="prenorm", bidirectional=True, rngs=nnx.Rngs(0))
    answers = run_module(model, INPUTS, LENGTHS)
    for row, length in enumerate(LENGTHS):
        outputs, _ = run_module(model.stack, INPUTS[:length, row : row + 1])
        read = jnp.concatenate([outputs[-1, 0, :3], outputs[0, 0, 3:]])
        assert_close(answers[row], model.output(read))


@pytest.mark.parametrize("sizes", ["3, 7,2", (3, 7, 2)])
def test_layers_have_the_sizes_that_they_are_given(sizes):
    stack = Stack("lstm", 4, 5, layers=3, sizes=sizes, bidirectional=True, dropout=0.5, rngs=nnx.Rngs(0))
    outputs, states = run_module(stack, INPUTS, noise=stack.draw(nnx.Rngs(dropout=0), 6, 3))
    assert outputs.shape == (6, 3, 4)
    assert [state[0].shape[1] for state in states] == [6, 14, 4]
    assert [layer[0].params["W"].shape for layer in stack.layers] == [(4, 12), (6, 28), (14, 8)]
    assert [entry.shape for (entry, _) in stack.initial_states(2)] == [(2, 6), (2, 14), (2, 4)]


def test_equal_sizes_are_the_stack_of_those_features():
    given, plain = (Stack("gru", 4, 5, layers=2, sizes=s, rngs=nnx.Rngs(0)) for s in ("5,5", ""))
    assert_close(run_module(given, INPUTS), run_module(plain, INPUTS))


@pytest.mark.parametrize(
    ("sizes", "block", "message"),
    [
        ("3,4,5", "plain", r"sizes: 3 of them \('3,4,5'\), but 2 layers"),
        ((3,), "residual", r"sizes: 1 of them \(\(3,\)\), but 2 layers"),
        ("3,x", "plain", "sizes: '3,x' must be whole numbers above 0, separated by commas"),
        ("3,0", "plain", "sizes: '3,0' must be whole numbers above 0"),
        ((3, -1), "plain", "must be whole numbers above 0"),
        ("3,4", "prenorm", "sizes: '3,4' must be empty: all prenorm blocks have the same features"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, block, message):
    with pytest.raises(ValueError, match=message):
        layer_sizes(block, 5, 2, sizes)


def test_unknown_blocks_and_norms_are_refused_with_the_list():
    with pytest.raises(ValueError, match="block: unknown value 'pre'; allowed: plain, residual, prenorm"):
        Stack("gru", 4, 5, block="pre", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="norm: unknown value 'group'; allowed: layer, batch"):
        ManyToMany(4, 2, cell="gru", features=5, norm="group", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="norm: 'batch' requires block 'prenorm', not 'residual'"):
        Stack("gru", 4, 5, block="residual", norm="batch", rngs=nnx.Rngs(0))


def test_batch_norm_normalises_by_the_steps_within_the_sequences_in_training_and_by_its_averages_else():
    stack = _stack(norm="batch", layers=1)
    around, block = stack.prenorm, stack.prenorm.blocks[0]
    encoded = np.asarray(INPUTS) @ np.asarray(around.encoder.kernel[...])
    inside = encoded[VALID]

    def normalised(mean, variance):
        scaled = (encoded - mean) / np.sqrt(variance + block.norm.epsilon)
        return scaled * np.asarray(block.norm.scale[...]) + np.asarray(block.norm.bias[...])

    valid = jnp.asarray(VALID)[..., None]
    stream, running = around.enter(INPUTS, valid), (np.asarray(block.norm.mean[...]), np.asarray(block.norm.var[...]))
    still = block.before(stream, valid, training=False)
    assert_close(np.asarray(still)[VALID], normalised(*running)[VALID], 1e-4)
    np.testing.assert_array_equal(block.norm.mean[...], running[0])
    moving = block.before(stream, valid, training=True)
    assert_close(np.asarray(moving)[VALID], normalised(inside.mean(0), inside.var(0))[VALID], 1e-4)
    assert_close(block.norm.mean[...], 0.95 * running[0] + 0.05 * inside.mean(0))
    assert_close(block.norm.var[...], 0.95 * running[1] + 0.05 * inside.var(0))


def test_a_stack_with_batch_norm_uses_its_averages_in_evaluation_and_leaves_them_alone():
    stack = _stack(norm="batch", bidirectional=True)
    before = jax.tree.map(np.array, nnx.state(stack, nnx.BatchStat))
    whole, _ = run_module(stack, INPUTS, seq_lengths=LENGTHS)
    alone, _ = run_module(stack, INPUTS[:2, 1:2])
    assert_close(whole[:2, 1], alone[:, 0])
    jax.tree.map(np.testing.assert_array_equal, nnx.state(stack, nnx.BatchStat), before)
    trained, _ = stack(INPUTS, seq_lengths=LENGTHS, noise=stack.draw(nnx.Rngs(dropout=0), 6, 3))
    assert not np.allclose(trained, whole)
    after = jax.tree.leaves(nnx.state(stack, nnx.BatchStat))
    assert all(np.any(new != old) for new, old in zip(after, jax.tree.leaves(before), strict=True))
