import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from oracle import assert_close

from rnnlab.cells import CELLS, Cell
from rnnlab.scans import METHODS, Associative, Newton, Plan, newton_scan, resolve_method, scan
from tests import nightly

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
        ({"segment_starts": jnp.zeros((5, 3), bool)}, r"\[time, batch\]"),
        ({"method": "newtn"}, "'newtn'.*auto, sequential, reference, associative, newton"),
        ({"method": "associative"}, "needs a cell whose step is affine in the state, without R; 'lstm' is not"),
        ({"method": Newton(chunk=2)}, "method: chunk 2 does not divide the time 5"),
        ({"method": Plan(2)}, "block 2 does not divide the time 5"),
        ({"method": "reference", "checkpoint_every": 2}, "requires method 'auto' or 'sequential', not 'reference'"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"recurrent_mask": ZEROS[:1]}, r"recurrent_mask must be \[batch, hidden\] = \(2, 4\), not of shape \(1, 4\)"),
        (
            {"zoneout_mask": (jnp.zeros((5, 2, 4), bool),)},
            r"zoneout_mask must be arrays of shapes .*not \[\(5, 2, 4\)\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, message):
    arguments = {"inputs": INPUTS} | arguments
    with pytest.raises(ValueError, match=message):
        scan(LSTM, PARAMS, arguments.pop("inputs"), **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_another_gradient_outside_of_jit_traces_nothing(method):
    traced = []

    def combine(params, state, a, r):
        traced.append(a)
        return (0.5 * state[0] + a,)

    cell = Cell(name="counted", gates=("h",), combine=combine, affine=True, recurrence="none")
    loss = jax.grad(
        lambda params, inputs: scan(cell, params, inputs, seq_lengths=np.array([5, 2]), method=method)[0].sum()
    )
    params = cell.init(jax.random.key(0), 3, 4)
    loss(params, INPUTS)
    loss(params, INPUTS + 1)  # the first kernel of a process changes the key by which jax finds programs
    before = len(traced)
    assert before
    loss(params, INPUTS + 2)
    assert len(traced) == before


@dataclasses.dataclass
class _Leaky:
    rate: jax.typing.ArrayLike

    def __call__(self, params, state, a, r):
        return (self.rate * state[0] + a + r,)


def _gradients(combine):
    """Of the weights of a cell with this function."""
    cell = Cell(name="leaky", gates=("h",), combine=combine)
    params = {"W": jnp.eye(3), "R": jnp.zeros((3, 3)), "b": jnp.zeros(3)}
    return jax.grad(lambda params: (scan(cell, params, INPUTS)[0] ** 2).sum())(params)


@pytest.mark.parametrize("hashed", [False, True])
def test_a_function_may_hold_a_value_of_the_program_around_it(hashed):
    def gradients(rate):
        function = _Leaky(rate)
        return _gradients((lambda *given: function(*given)) if hashed else function)

    wanted = [gradients(rate) for rate in (0.5, 0.25)]
    assert_close(jax.jit(gradients)(0.5), wanted[0])
    assert_close(jax.vmap(gradients)(jnp.array([0.5, 0.25])), jax.tree.map(lambda *v: jnp.stack(v), *wanted))


def test_a_function_without_a_hash_may_change():
    function = _Leaky(0.5)
    cell, inputs = Cell(name="leaky", gates=("h",), combine=function), jnp.ones((3, 1, 2))
    params = {"W": jnp.eye(2), "R": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    for function.rate, wanted in ((0.5, [1, 1.5, 1.75]), (0.0, [1, 1, 1])):
        np.testing.assert_allclose(scan(cell, params, inputs)[0][:, 0, 0], wanted)


def test_settings_without_a_hash_are_settings():
    exact = scan(LSTM, PARAMS, INPUTS)
    assert_close(scan(LSTM, PARAMS, INPUTS, method=Newton(tolerance=np.array(1e-6))), exact)


def test_reverse_with_lengths_reads_each_sequence_from_its_own_end():
    lengths = [5, 2]
    outputs, final = scan(LSTM, PARAMS, INPUTS, seq_lengths=jnp.array(lengths), reverse=True)
    for row, length in enumerate(lengths):
        backwards, last = scan(LSTM, PARAMS, INPUTS[:length][::-1, row : row + 1])
        assert_close(outputs[:length, row], backwards[::-1, 0])
        assert_close([entry[row] for entry in final], [entry[0] for entry in last])


WAYS = [
    ("lstm", "reference"),
    ("lstm", Plan(4, project="block", pull="block", recompute=True)),
    ("gru", "sequential"),
    ("rnn", "newton"),
    ("rnn", Newton(jacobian="diagonal", chunk=2)),
    ("lru", Associative(2)),
]
every_way = pytest.mark.parametrize(("name", "method"), WAYS, ids=str)
CUT = oracle.TIME // 2


def _example(name):
    """Every argument of `scan` that has a gradient, and every other array."""
    params, inputs, state = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), oracle.example(name))
    mask_key, *keys = jax.random.split(jax.random.key(0), 1 + len(state))
    mask = jax.random.normal(mask_key, state[0].shape)
    shape = (oracle.TIME, *state[0].shape)
    others = {
        "seq_lengths": jnp.array([oracle.TIME, 4, 0]),
        "segment_starts": jnp.arange(oracle.TIME)[:, None] == jnp.array([2, 3, 1]),
        "zoneout_mask": tuple(jax.random.bernoulli(key, 0.3, shape) for key in keys),
    }
    floats = {"params": params, "inputs": inputs, "state": state, "recurrent_mask": mask}
    if CELLS[name].continuous:
        floats["dt"] = jax.random.uniform(mask_key, shape[:2], minval=0.1, maxval=3.0)
    return floats, others


@functools.cache
def _program(name, method, reverse):
    """`(floats, others, weight of the last state) -> ((loss, results), gradient of every float)`"""

    def loss(floats, others, weight):
        outputs, final = scan(CELLS[name], method=method, reverse=reverse, **floats, **others)
        values = (outputs, *(weight * entry for entry in final))
        return sum((v * jnp.cos(v)).sum() for v in values), (outputs, final)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("reverse", [*nightly.only(False), True])
@every_way
def test_packed_rows_with_segment_starts_are_the_sequences_alone(name, method, reverse):
    """Both from the state that was given, whose gradient is the sum of theirs."""
    floats, others = _example(name)
    lengths, inside = jnp.full(oracle.BATCH, CUT), jnp.zeros((CUT, oracle.BATCH), bool)
    others |= {"seq_lengths": 2 * lengths, "segment_starts": jnp.concatenate([inside, inside.at[0].set(True)])}
    (_, (outputs, final)), gradient = _program(name, method, reverse)(floats, others, 1.0)
    parts, cut = [], [name for name in ("inputs", "dt") if name in floats]
    for steps, is_last in ((slice(None, CUT), reverse), (slice(CUT, None), not reverse)):
        part = {
            "seq_lengths": lengths,
            "segment_starts": inside,
            "zoneout_mask": tuple(own[steps] for own in others["zoneout_mask"]),
        }
        own = floats | {name: floats[name][steps] for name in cut}
        parts.append(_program(name, "reference", reverse)(own, part, float(is_last)))
    ((_, first), d_first), ((_, second), d_second) = parts
    assert_close(outputs, jnp.concatenate([first[0], second[0]]))
    assert_close(final, first[1] if reverse else second[1])
    of_steps = {name: jnp.concatenate([d_first.pop(name), d_second.pop(name)]) for name in cut}
    assert_close(gradient, jax.tree.map(jnp.add, d_first, d_second) | of_steps)


def test_no_argument_is_forgotten_here():
    floats, others = _example("lru")
    known = {"cell", "method", "checkpoint_every", "reverse", *floats, *others}
    assert known == set(inspect.signature(scan).parameters)
    assert known | {"newton", "guess"} == {"method", "checkpoint_every", *inspect.signature(newton_scan).parameters}


@every_way
def test_the_gradient_of_every_float_argument_is_that_of_the_reference(name, method):
    found, wanted = (_program(name, m, True)(*_example(name), 1.0) for m in (method, "reference"))
    assert_close(found, wanted)
    for gradient in jax.tree.leaves(wanted[1] if name == "lstm" else ()):
        assert np.any(gradient)


@every_way
def test_lengths_that_cannot_be_checked_are_clipped(name, method):
    floats, others = _example(name)
    run = _program(name, method, True)
    found = run(floats, others | {"seq_lengths": jnp.array([oracle.TIME + 1, 1000, -3])}, 1.0)
    assert_close(found, run(floats, others | {"seq_lengths": jnp.array([oracle.TIME, oracle.TIME, 0])}, 1.0))


def test_masks_of_floats_are_read_as_truths():
    _, others = _example("lstm")
    params, inputs, _ = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), oracle.example("lstm"))
    asked = {"zoneout_mask": others["zoneout_mask"], "segment_starts": others["segment_starts"]}
    wanted = scan(LSTM, params, inputs, **asked)
    assert_close(scan(LSTM, params, inputs, **jax.tree.map(lambda v: v.astype(float), asked)), wanted)


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
        ("min_gru", 16, "cpu", Plan(64)),
        ("min_gru", 1, "cpu", Plan(64, project="block", pull="block")),
        ("lru", 1, "cpu", Plan(64, project="block", pull="block")),
        ("gru", 1, "gpu", Plan(64, project="block", pull="block", unroll=4, joined=True)),
    ],
)
def test_what_is_chosen_is_what_was_measured(cell, batch, device, chosen):
    """The table of docs/parallel.md; the plans are those that docs/scan.md derives."""
    assert resolve_method(CELLS[cell], 64, batch, device=device) == chosen
