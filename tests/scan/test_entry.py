import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close

from rnnlab.cells import CELLS
from rnnlab.scan import Associative, Newton, Plan, resolve_method, resolve_plan, scan

LSTM = CELLS["lstm"]
PARAMS = LSTM.init(jax.random.key(0), 3, 4)
INPUTS = jax.random.normal(jax.random.key(1), (5, 2, 3))
ZEROS = jnp.zeros((2, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": INPUTS[0]}, r"\[time, batch, features\]"),
        ({"inputs": INPUTS[..., :2]}, "2 features.*takes 3"),
        ({"inputs": INPUTS.astype(int)}, r"integers \[time, batch\], not int32 of shape \(5, 2, 3\)"),
        ({"state": (ZEROS,)}, r"2 arrays \(h, c\)"),
        ({"state": (ZEROS, ZEROS[:1])}, r"shape \(2, 4\)"),
        ({"seq_lengths": jnp.array([1, 2, 3])}, r"\[batch\]"),
        ({"seq_lengths": jnp.array([1, 6])}, "0 to 5.*but 6"),
        ({"seq_lengths": np.array([-1, 2])}, "0 to 5.*but -1"),
        ({"resets": jnp.zeros((5, 3), bool)}, r"\[time, batch\]"),
        ({"method": "newtn"}, "'newtn'.*auto, sequential, reference, associative, newton"),
        ({"method": "associative"}, "is for cells whose step is affine in the state, without R; 'lstm' is none"),
        ({"method": Newton(chunk=2)}, "method: chunk 2 does not divide the time 5"),
        ({"method": Plan(2)}, "block 2 does not divide the time 5"),
        ({"method": "reference", "checkpoint_every": 2}, "goes with method 'auto' or 'sequential', not 'reference'"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"recurrent_mask": ZEROS[:1]}, r"recurrent_mask must be \[batch, hidden\] = \(2, 4\), not of shape \(1, 4\)"),
        ({"kept": (jnp.zeros((5, 2, 4), bool),)}, r"kept must be arrays of shapes .*not \[\(5, 2, 4\)\]"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, message):
    arguments = {"inputs": INPUTS} | arguments
    with pytest.raises(ValueError, match=message):
        scan(LSTM, PARAMS, arguments.pop("inputs"), **arguments)


def test_reverse_with_lengths_reads_each_sequence_from_its_own_end():
    lengths = [5, 2]
    outputs, final = scan(LSTM, PARAMS, INPUTS, seq_lengths=jnp.array(lengths), reverse=True)
    for row, length in enumerate(lengths):
        backwards, last = scan(LSTM, PARAMS, INPUTS[:length][::-1, row : row + 1])
        assert_close(outputs[:length, row], backwards[::-1, 0])
        assert_close([entry[row] for entry in final], [entry[0] for entry in last])


def test_packed_rows_with_resets_are_the_sequences_alone():
    packed = jnp.concatenate([INPUTS[:3, :1], INPUTS[:2, 1:]])
    resets = jnp.zeros((5, 1), bool).at[3].set(True)
    for reverse in (False, True):
        outputs, _ = scan(LSTM, PARAMS, packed, resets=resets, reverse=reverse)
        alone = [scan(LSTM, PARAMS, part, reverse=reverse)[0] for part in (INPUTS[:3, :1], INPUTS[:2, 1:])]
        assert_close(outputs, jnp.concatenate(alone))


def test_truncated_bptt_sends_no_gradient_over_the_cut():
    def second_half(inputs):
        _, state = scan(LSTM, PARAMS, inputs[:2])
        outputs, _ = scan(LSTM, PARAMS, inputs[2:], state=jax.lax.stop_gradient(state))
        return outputs.sum()

    gradient = jax.grad(second_half)(INPUTS)
    assert not np.any(gradient[:2])
    assert np.all(np.any(gradient[2:], axis=-1))


def test_lengths_may_be_traced_and_gradients_pass_through_jit_and_vmap():
    def loss(inputs, lengths):
        return scan(LSTM, PARAMS, inputs, seq_lengths=lengths)[0].sum()

    lengths = jnp.array([[5, 2], [0, 1]])
    stacked = jnp.stack([INPUTS, 2 * INPUTS])
    together = jax.jit(jax.vmap(jax.grad(loss)))(stacked, lengths)
    assert_close(together, jnp.stack([jax.grad(loss)(x, n) for x, n in zip(stacked, lengths, strict=True)]))


def test_a_cell_that_multiplies_with_r_itself_takes_no_mask_of_it():
    cell = CELLS["gru_reset_before"]
    with pytest.raises(ValueError, match="recurrent_mask: cell 'gru_reset_before' multiplies with R inside"):
        scan(cell, cell.init(jax.random.key(0), 3, 4), INPUTS, recurrent_mask=ZEROS)


@pytest.mark.parametrize(
    ("cell", "batch", "device", "chosen"),
    [
        ("min_gru", 1, "gpu", Associative()),
        ("lru", 16, "gpu", Associative()),
        ("min_gru", 16, "cpu", resolve_plan(CELLS["min_gru"], 64, 16, device="cpu")),
        ("min_gru", 1, "cpu", resolve_plan(CELLS["min_gru"], 64, 1, device="cpu")),
        ("lru", 1, "cpu", resolve_plan(CELLS["lru"], 64, 1, device="cpu")),
        ("gru", 1, "gpu", resolve_plan(CELLS["gru"], 64, 1, device="gpu")),
    ],
)
def test_what_is_chosen_is_what_was_measured(cell, batch, device, chosen):
    """The table of docs/parallel.md."""
    assert resolve_method(CELLS[cell], 64, batch, device=device) == chosen
