import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.cells import CELLS
from rnnlab.models.recurrent import Recurrent, Stack
from rnnlab.scan import scan

INPUTS = jax.random.normal(jax.random.key(0), (6, 3, 4))
LENGTHS = jnp.array([6, 2, 4])


def _params(layer: Recurrent):
    return {name: value[...] for name, value in layer.params.items()}


def test_a_bidirectional_stack_is_its_layers_run_by_hand():
    stack = Stack("lstm", 4, 5, layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    outputs, finals = stack(INPUTS, seq_lengths=LENGTHS)
    below = INPUTS
    for index, layer in enumerate(stack.layers):
        runs = [
            scan(CELLS["lstm"], _params(direction), below, seq_lengths=LENGTHS, reverse=backwards)
            for direction, backwards in zip(layer, (False, True), strict=True)
        ]
        below = jnp.concatenate([out for out, _ in runs], axis=-1)
        assert_close(finals[index][1], jnp.concatenate([final[1] for _, final in runs], axis=-1))
    assert_close(outputs, below)
    assert outputs.shape == (6, 3, stack.out_features) == (6, 3, 10)


def test_residual_adds_the_input_only_where_the_sizes_agree():
    plain, residual = (Stack("gru", 4, 5, layers=2, residual=flag, rngs=nnx.Rngs(0)) for flag in (False, True))
    first = Recurrent("gru", 4, 5, rngs=nnx.Rngs(0))(INPUTS)[0]  # 4 is not 5: nothing is added to layer 1
    assert_close(residual(INPUTS)[0], plain(INPUTS)[0] + first)


def test_dropout_masks_stand_between_the_layers():
    stack = Stack("rnn", 4, 5, layers=2, dropout=0.5, rngs=nnx.Rngs(0))
    noise = stack.draw(nnx.Rngs(dropout=1), 6, 3)
    ((mask,), _) = noise.steps
    first, second = stack.layers[0][0], stack.layers[1][0]
    assert_close(stack(INPUTS, noise=noise)[0], second(first(INPUTS)[0] * mask)[0])
    assert not np.allclose(stack(INPUTS)[0], stack(INPUTS, noise=noise)[0])


def test_a_state_handed_on_continues_the_run():
    stack = Stack("gru", 4, 5, layers=2, rngs=nnx.Rngs(0))
    whole, finals = stack(INPUTS)
    first, between = stack(INPUTS[:2])
    second, last = stack(INPUTS[2:], between)
    assert_close((jnp.concatenate([first, second]), last), (whole, finals))


def test_a_learnt_initial_state_is_a_parameter_that_gets_a_gradient():
    layer = Recurrent("lstm", 4, 5, initial_state="learnt", rngs=nnx.Rngs(0))
    layer.start["c"][...] = jnp.arange(5.0)
    assert_close(layer.initial_state(2)[1], np.tile(np.arange(5.0), (2, 1)))
    graph, state = nnx.split(layer)
    gradient = jax.grad(lambda s: nnx.merge(graph, s)(INPUTS)[0].sum())(state)
    assert np.any(gradient["start"]["h"][...])
    assert np.any(gradient["start"]["c"][...])


def test_unknown_names_are_refused_with_the_list():
    with pytest.raises(ValueError, match=r"cell: unknown value 'lstmm'; allowed: .*gru.*lstm"):
        Stack("lstmm", 4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="initial_state: unknown value 'one'; allowed: zero, learnt"):
        Recurrent("lstm", 4, 5, initial_state="one", rngs=nnx.Rngs(0))


def test_a_cell_of_ones_own_needs_no_registry():
    mine = Recurrent(CELLS["gru"], 4, 5, rngs=nnx.Rngs(0))
    assert_close(mine(INPUTS), Recurrent("gru", 4, 5, rngs=nnx.Rngs(0))(INPUTS))
