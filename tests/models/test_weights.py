"""Weights of torch.nn (golden arrays), of flax.linen and of flax.nnx, in and out."""

import copy
import dataclasses
import pathlib
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from oracle import assert_close

from rnnlab.cells import CELLS, zoneout
from rnnlab.models.recurrent import Recurrent, Stack
from rnnlab.models.weights import from_linen, from_nnx, from_torch, to_linen, to_nnx, to_torch
from rnnlab.scans import scan

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "torch_stacks.npz")
NAMES = ("rnn", "rnn_relu", "gru", "lstm")


def _golden(name: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    arrays = {key.partition("/")[2]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{name}/")}
    return arrays.pop("inputs"), arrays.pop("outputs"), arrays


def _stack(name: str, *, seed: int = 0, **options) -> Stack:
    """With random biases, so that none of them could be lost unseen."""
    stack = Stack(name, 4, 5, **{"layers": 2, "bidirectional": True, "rngs": nnx.Rngs(seed)} | options)
    rng = np.random.default_rng(seed)
    for layer in stack.layers:
        for recurrent in layer:
            for param in ("b", "b_n"):
                if param in recurrent.params:
                    recurrent.params[param][...] = jnp.asarray(
                        rng.normal(size=recurrent.params[param].shape), jnp.float32
                    )
    return stack


@pytest.mark.parametrize("name", NAMES)
def test_a_torch_layer_taken_over_says_what_torch_says(name):
    inputs, outputs, weights = _golden(name)
    with jax.enable_x64(True):
        stack = _stack(name)
        for layer in stack.layers:
            for recurrent in layer:
                for param, value in recurrent.params.items():
                    recurrent.params[param] = nnx.Param(value[...].astype(jnp.float64))
        from_torch(stack, weights)
        assert_close(stack(jnp.asarray(inputs))[0], outputs, 1e-12)
        back = to_torch(stack)
    assert list(back) == list(weights)
    for key in weights:
        if key.startswith("weight"):
            np.testing.assert_array_equal(back[key], weights[key])


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_comes_back_from_a_file_to_the_last_bit(name, tmp_path):
    stack, other = _stack(name), _stack(name, seed=1)
    safetensors.numpy.save_file(to_torch(stack), tmp_path / "layer.safetensors")
    from_torch(other, safetensors.numpy.load_file(tmp_path / "layer.safetensors"))
    ours, theirs = (jax.tree.leaves(nnx.state(s)) for s in (stack, other))
    assert len(ours) == len(theirs)
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_torch_layer_without_biases_has_biases_of_zero():
    inputs, _, weights = _golden("lstm")
    bare = {name: value for name, value in weights.items() if name.startswith("weight")}
    zero = {name: np.zeros_like(value) if name.startswith("bias") else value for name, value in weights.items()}
    outputs = []
    for found in (bare, zero):
        stack = _stack("lstm")
        from_torch(stack, found)
        outputs.append(stack(jnp.asarray(inputs, jnp.float32))[0])
    np.testing.assert_array_equal(*outputs)


LINEN = {
    "rnn": lambda: nn.SimpleCell(5),
    "rnn_relu": lambda: nn.SimpleCell(5, activation_fn=nn.relu),
    "gru": lambda: nn.GRUCell(5),
    "lstm": lambda: nn.OptimizedLSTMCell(5),
}


@pytest.mark.parametrize("name", NAMES)
def test_linen_says_the_same_with_our_weights_and_gives_them_back_to_the_last_bit(name):
    params = {n: value[...] for n, value in _stack(name, layers=1).layers[0][0].params.items()}
    weights = to_linen(CELLS[name], params)
    inputs = jax.random.normal(jax.random.key(0), (7, 3, 4))
    theirs = nn.RNN(LINEN[name](), time_major=True).apply({"params": {"cell": weights}}, inputs)
    assert_close(scan(CELLS[name], params, inputs)[0], theirs)
    back = from_linen(CELLS[name], weights)
    assert set(back) == set(params)
    for key, value in params.items():
        np.testing.assert_array_equal(back[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_or_unpickled_cell_has_the_weights_of_the_cell(name):
    stack = _stack(name)
    params = {n: value[...] for n, value in stack.layers[0][0].params.items()}
    weights = to_linen(CELLS[name], params)
    plain = params | {"b_n": jnp.zeros(5)} if "b_n" in params else params
    for cell in (copy.deepcopy(CELLS[name]), pickle.loads(pickle.dumps(CELLS[name])), dataclasses.replace(CELLS[name])):
        jax.tree.map(np.testing.assert_array_equal, to_linen(cell, params), weights)
        jax.tree.map(np.testing.assert_array_equal, from_linen(cell, weights), params)
        jax.tree.map(np.testing.assert_array_equal, to_nnx(cell, plain), to_nnx(CELLS[name], plain))
        own = Stack(cell, 4, 5, layers=2, bidirectional=True, rngs=nnx.Rngs(0))
        from_torch(own, to_torch(stack))
        jax.tree.map(np.testing.assert_array_equal, to_torch(own), to_torch(stack))


def test_a_cell_that_only_has_the_name_of_a_known_one_is_refused():
    def combine(params, state, a, r):
        return CELLS["lstm"].combine(params, state, a, 2 * r)

    for change in ({"combine": combine}, {"recurrence": "diagonal"}, {"gates": ("f", "i", "g", "o")}):
        cell = dataclasses.replace(CELLS["lstm"], **change)
        with pytest.raises(ValueError, match="'lstm' has other gates, another step or another R"):
            to_linen(cell, {})
    with pytest.raises(ValueError, match="'lstm' has other gates, another step or another R"):
        to_nnx(zoneout.expected(CELLS["lstm"], (0.1, 0.1)), {})


def test_linens_own_parameters_have_the_names_that_are_asked_for():
    for name in NAMES:
        weights = nn.RNN(LINEN[name]()).init(jax.random.key(0), jnp.zeros((1, 2, 4)))["params"]["cell"]
        assert jax.tree.structure(to_linen(CELLS[name], from_linen(CELLS[name], weights))) == jax.tree.structure(
            weights
        )


NNX = {
    "rnn": nnx.SimpleCell,
    "rnn_relu": lambda *sizes, rngs: nnx.SimpleCell(*sizes, activation_fn=nnx.relu, rngs=rngs),
    "gru": nnx.GRUCell,
    "lstm": nnx.OptimizedLSTMCell,
}


@pytest.mark.parametrize("name", NAMES)
def test_nnx_says_the_same_with_our_weights_and_gives_them_back_to_the_last_bit(name):
    params = {n: value[...] for n, value in _stack(name, layers=1).layers[0][0].params.items()}
    if "b_n" in params:
        with pytest.raises(ValueError, match=r"b_n: flax\.nnx\.GRUCell has no bias inside the reset gate"):
            to_nnx(CELLS[name], params)
        params["b_n"] = jnp.zeros_like(params["b_n"])
    cell, weights = NNX[name](4, 5, rngs=nnx.Rngs(0)), to_nnx(CELLS[name], params)
    assert jax.tree.structure(weights) == jax.tree.structure(nnx.to_pure_dict(nnx.state(cell, nnx.Param)))
    nnx.update(cell, weights)
    inputs = jax.random.normal(jax.random.key(0), (7, 3, 4))
    assert_close(scan(CELLS[name], params, inputs)[0], nnx.RNN(cell, time_major=True, rngs=nnx.Rngs(0))(inputs))
    back = from_nnx(CELLS[name], weights)
    assert set(back) == set(params)
    for key, value in params.items():
        np.testing.assert_array_equal(back[key], value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_ih_l0": None}, "missing weights: weight_ih_l0; expected bias_hh_l0"),
        ({"weight_hr_l0": np.zeros((5, 5))}, "unknown weights: weight_hr_l0"),
        ({"bias_hh_l1": np.zeros(4)}, r"bias_hh_l1: its shape is \[4\], but the stack needs \[20\]"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(change, message):
    stack = _stack("lstm")
    before = to_torch(stack)
    weights = {name: value for name, value in (before | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        from_torch(stack, weights)
    for name, value in to_torch(stack).items():
        np.testing.assert_array_equal(value, before[name])


def test_what_torch_and_flax_do_not_have_is_refused():
    other = Stack("gru_reset_before", 4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="cell: unknown value 'gru_reset_before'; allowed: rnn, rnn_relu, gru, lstm"):
        to_torch(other)
    with pytest.raises(ValueError, match="block: torch has no 'residual' layers"):
        to_torch(_stack("gru", block="residual"))
    with pytest.raises(ValueError, match="zoneout"):
        to_torch(_stack("gru", zoneout=0.1))
    recurrent = Recurrent("gru_reset_before", 4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="gru_reset_before"):
        to_linen(recurrent.cell, {})
    with pytest.raises(ValueError, match="missing weights: h/kernel"):
        from_linen(CELLS["rnn"], {"i": {"kernel": np.zeros((4, 5)), "bias": np.zeros(5)}})
