import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.models.bridge import Bridge
from rnnlab.models.recurrent import Stack


def _stack(cell, features, **options):
    return Stack(cell, 3, features, rngs=nnx.Rngs(0), **options)


def _states(stack, value):
    return tuple(
        tuple(
            jnp.full((2, stack.out_features), value + 10 * layer + entry)
            for entry in range(len(stack.cell.state_names))
        )
        for layer in range(len(stack.layers))
    )


def test_last_copies_layer_by_layer_and_fills_what_is_missing_from_h():
    encoder, decoder = _stack("gru", 4, layers=2), _stack("lstm", 4, layers=2)
    bridge = Bridge("last", encoder, decoder, rngs=nnx.Rngs(0))
    states = bridge(_states(encoder, 1.0), decoder.initial_states(2))
    assert [[float(entry[0, 0]) for entry in layer] for layer in states] == [[1, 1], [11, 11]]


def test_decoder_layers_start_from_the_top_one_where_the_numbers_differ():
    encoder, decoder = _stack("lstm", 2, layers=3, bidirectional=True), _stack("rnn", 4, layers=2)
    bridge = Bridge("last", encoder, decoder, rngs=nnx.Rngs(0))
    states = bridge(_states(encoder, 1.0), decoder.initial_states(2))
    assert [[float(entry[0, 0]) for entry in layer] for layer in states] == [[21], [21]]


def test_dense_is_tanh_of_a_projection_of_the_entry_of_the_same_name():
    encoder, decoder = _stack("lstm", 4), _stack("lstm", 6)
    bridge = Bridge("dense", encoder, decoder, rngs=nnx.Rngs(0))
    encoded = _states(encoder, 0.1)
    ((h, c),) = bridge(encoded, decoder.initial_states(2))
    for name, got, entry in (("h", h, encoded[0][0]), ("c", c, encoded[0][1])):
        dense = bridge.dense[0][name]
        assert_close(got, np.tanh(entry @ dense.kernel[...] + dense.bias[...]))


def test_layers_of_different_sizes_are_bridged_one_by_one():
    encoder, decoder = _stack("gru", 4, layers=2, sizes="4,6"), _stack("gru", 4, layers=2, sizes="4,5")
    with pytest.raises(ValueError, match="has 6 features and the decoder's 5"):
        Bridge("last", encoder, decoder, rngs=nnx.Rngs(0))
    states = Bridge("dense", encoder, decoder, rngs=nnx.Rngs(0))(encoder.initial_states(2), decoder.initial_states(2))
    assert [entry.shape for (entry,) in states] == [(2, 4), (2, 5)]
    top = Bridge("dense", _stack("gru", 3, layers=3, sizes="3,3,8"), decoder, rngs=nnx.Rngs(0))
    assert [layer["h"].kernel.shape for layer in top.dense] == [(8, 4), (8, 5)]


def test_zero_leaves_the_decoders_own_initial_state():
    encoder, decoder = _stack("gru", 4), _stack("gru", 6, initial_state="learnt")
    initial = _states(decoder, 3.0)
    assert Bridge("zero", encoder, decoder, rngs=nnx.Rngs(0))(_states(encoder, 1.0), initial) is initial


@pytest.mark.parametrize(
    ("kind", "decoder", "message"),
    [
        ("lst", {"features": 4}, "bridge: unknown value 'lst'; allowed: last, dense, zero"),
        ("last", {"features": 5}, "has 4 features and the decoder's 5"),
        ("dense", {"features": 4, "initial_state": "learnt"}, "cannot be learnt; use 'zero'"),
    ],
)
def test_what_does_not_fit_is_refused(kind, decoder, message):
    with pytest.raises(ValueError, match=message):
        Bridge(kind, _stack("gru", 4), _stack("gru", **decoder), rngs=nnx.Rngs(0))
