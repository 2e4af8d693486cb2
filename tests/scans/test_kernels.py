"""Fused kernels in interpret mode against the reference; `tests/aot/test_kernels.py` compiles them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import CELLS, Cell, find_cell
from rnnlab.scans import METHODS, Pallas, methods_of, program_for, resolve_method, scan
from rnnlab.testing import check_cell
from tests import nightly

TIME, BATCH, IN, UNITS = 7, 5, 3, 4
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}
POINTWISE = [name for name, cell in CELLS.items() if "pallas" in methods_of(cell)]
STRUCTURED = ["lstm/heads2", "slstm/heads2", "gru/heads2", "gru/diagonal", "rnn/diagonal", "lstm/none", "gru/none"]
EVERY = [*POINTWISE, *STRUCTURED]
COMPARED = ("methods agree", "methods agree with every option", "padding is never read")
SATURATED = "saturation leaves all finite and right"
SMALL = Pallas(tile=2, chunk=3)  # neither divides its axis


@pytest.mark.parametrize("name", nightly.but(EVERY, "slstm/heads2"))
def test_a_kernel_keeps_the_promises_of_every_method(name):
    check_cell(find_cell(name), promises=COMPARED, methods=["pallas"])


@pytest.mark.parametrize("name", nightly.only(*EVERY))
def test_saturation_leaves_a_kernel_finite_and_right(name):
    check_cell(find_cell(name), promises=[SATURATED], methods=["pallas"])


def _options(cell: Cell) -> dict[str, dict]:
    """Every option of `scan` by itself, and together."""
    rng = np.random.default_rng(1)
    each = {
        "lengths": {"seq_lengths": np.array([7, 3, 0, 1, 6], np.int32)},
        "starts": {"segment_starts": rng.random((TIME, BATCH)) < 0.3},
        "mask": {"recurrent_mask": np.where(rng.random((BATCH, UNITS)) < 0.5, 0, 2).astype(np.float32)},
        "zoneout": {"zoneout_mask": tuple(rng.random((TIME, BATCH, UNITS)) < 0.3 for _ in cell.state_names)},
        "reverse": {"reverse": True},
        "no state": {"state": None},
        "ids": {"inputs": rng.integers(0, IN, (TIME, BATCH))},
    }
    together = {key: value for own in each.values() for key, value in own.items() if key not in ("inputs", "state")}
    return {"plain": {}, **each, "everything": together, "everything, ids": together | each["ids"]}


def _example(cell: Cell, dtype: str) -> dict:
    rng = np.random.default_rng(0)
    drawn = cell.init(jax.random.key(0), IN, UNITS)
    params = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in drawn.items()}
    state = tuple(rng.normal(size=(BATCH, UNITS)) for _ in cell.state_names)
    arrays = {"params": params, "inputs": rng.normal(size=(TIME, BATCH, IN)), "state": state}
    return jax.tree.map(lambda v: jnp.asarray(v, dtype), arrays)


@functools.partial(jax.jit, static_argnames=("cell", "method", "reverse"))
def _run(cell, given, fixed, method, reverse=False):
    """Values, and the gradients of all that has one."""

    def loss(given):
        found = scan(cell, **given, **fixed, method=method, reverse=reverse)
        return oracle.weighted(jax.tree.map(lambda v: v.astype(jnp.float32), found)), found

    return jax.grad(loss, has_aux=True)(given)


def _assert_near(found, wanted, tolerance: float = TOLERANCES["float32"]) -> None:
    """Compares arrays, relative to the size of each."""
    for own, right in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        own, right = np.asarray(own, np.float32), np.asarray(right, np.float32)
        assert np.linalg.norm(own - right) <= tolerance * max(1, np.linalg.norm(right))


def _assert_equal(name: str, option: str, dtype: str, methods: list) -> None:
    """Compares kernels with the reference, in bfloat16 with the sequential scan, which rounds what it stores, too."""
    cell = find_cell(name)
    given = _example(cell, dtype) | _options(cell)[option]
    if given["state"] is None:
        del given["state"]
    reverse = given.pop("reverse", False)
    fixed = {key: given.pop(key) for key in ("seq_lengths", "segment_starts", "zoneout_mask") if key in given}
    if option.endswith("ids"):
        fixed["inputs"] = given.pop("inputs")
    wanted = _run(cell, given, fixed, "reference" if dtype == "float32" else "sequential", reverse)
    for method in methods:
        found = _run(cell, given, fixed, method, reverse)
        assert [v.dtype for v in jax.tree.leaves(found[0])] == [v.dtype for v in jax.tree.leaves(given)]
        _assert_near(found, wanted, TOLERANCES[dtype])


@pytest.mark.parametrize(("name", "dtype"), [("gru", "bfloat16"), ("rg_lru", "float32")])
def test_values_and_gradients_with_everything_are_those_of_the_reference(name, dtype):
    _assert_equal(name, "everything", dtype, [SMALL])


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("option", _options(CELLS["rnn"]))
@pytest.mark.parametrize("name", EVERY)
def test_values_and_gradients_with_each_option_are_those_of_the_reference(name, option, dtype):
    _assert_equal(name, option, dtype, [SMALL, *([Pallas()] if option == "everything" else [])])


def test_irregular_time_steps_are_one_more_gate():
    cell, rng = CELLS["lru"], np.random.default_rng(2)
    given = _example(cell, "float32") | {"dt": jnp.asarray(rng.random((TIME, BATCH)), jnp.float32)}
    _assert_near(_run(cell, given, {}, "pallas"), _run(cell, given, {}, "reference"))


def _leaky(params, state, a, r):
    """Reads a bias, slices the gates and joins them again, for which a kernel has no array."""
    h, slow = state
    units = h.shape[-1]
    bent = jax.nn.softplus(jnp.concatenate([a[..., units:], a[..., :units]], axis=-1) + r) - params["b"]
    slow = params["decay"] * slow + bent[..., :units]
    return jax.nn.relu(bent[..., units:]) * slow + h.clip(-1, 1), slow


LEAKY = Cell(
    name="leaky",
    gates=("f", "g"),
    combine=_leaky,
    state_names=("h", "slow"),
    unit_params={"decay": 0.9},
    split_gates=("f", "g"),
    reads_params=("b",),
)


def test_a_cell_from_outside_with_parameters_of_gates():
    given = _example(LEAKY, "float32")
    _assert_near(_run(LEAKY, given, {}, SMALL), _run(LEAKY, given, {}, "reference"))


def test_a_kernel_is_mapped_over_models():
    cell = CELLS["gru"]
    given = _example(cell, "float32")
    params = jax.tree.map(lambda v: jnp.stack([v, 2 * v]), given["params"])

    def run(params, method):
        return scan(cell, params, given["inputs"], method=method)

    for method in (Pallas(), SMALL):
        found = jax.vmap(functools.partial(run, method=method))(params)
        _assert_near(found, jax.vmap(functools.partial(run, method="reference"))(params))


def test_no_rows_and_no_steps_give_empty_results():
    cell = CELLS["lstm"]
    params = cell.init(jax.random.key(0), IN, UNITS)
    for shape in ((0, BATCH, IN), (TIME, 0, IN)):
        outputs, final = scan(cell, params, jnp.zeros(shape), method="pallas")
        assert outputs.shape == (*shape[:2], UNITS)
        assert not np.any(final)


def _units_mix(params, state, a, r):
    return (jnp.tanh(a + r + jnp.roll(state[0], 1, axis=-1)),)


def _units_are_summed(params, state, a, r):
    return (jnp.tanh(a + r + state[0].sum(-1, keepdims=True)),)


def _reads_an_array(params, state, a, r):
    return (jnp.tanh(a + r) * np.arange(1.0, 1 + a.shape[-1], dtype=np.float32),)


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (_units_mix, "slice of a part of the units"),
        (_units_are_summed, "reduce_sum"),
        (_reads_an_array, "an array that is neither state nor parameter"),
    ],
)
def test_a_combine_that_is_not_pointwise_is_refused_by_what_it_uses(combine, message):
    cell = dataclasses.replace(CELLS["rnn"], name="broken", combine=combine)
    with pytest.raises(ValueError, match=rf"pointwise in the units; that of 'broken' uses .*{message}"):
        scan(cell, cell.init(jax.random.key(0), IN, UNITS), jnp.zeros((TIME, BATCH, IN)), method="pallas")


REFUSED = {
    "mixes units": ("lstm_layer_norm", 64, "cpu", "float32", Pallas(), "'lstm_layer_norm' is not"),
    "reads R": ("gru_reset_before", 64, "gpu", "float32", Pallas(), "reads no R; 'gru_reset_before' is not"),
    "wide R": ("lstm", 256, "gpu", "float32", Pallas(), "16 to 128 units in R, a power of two; 'lstm' has 256"),
    "wide heads": ("slstm/heads2", 512, "gpu", "float32", Pallas(), "in a head, a power of two; .* 256 of 512 units"),
    "no power of two": ("gru", 96, "gpu", "bfloat16", Pallas(), "a power of two; 'gru' has 96"),
    "few units": ("gru/diagonal", 24, "gpu", "float32", Pallas(), "a multiple of 16 units; 'gru/diagonal' has 8 of 24"),
    "gpu tile": ("gru", 64, "gpu", "float32", Pallas(tile=24), "tile must be a power of two from 16 on a GPU, not 24"),
    "gpu chunk": ("gru", 64, "gpu", "float32", Pallas(chunk=4), "chunk must be None on a GPU, not 4"),
    "half": ("gru", 64, "gpu", "float16", Pallas(), "weights in float32 or bfloat16, not float16"),
    "heads on a TPU": ("slstm/heads4", 512, "tpu", "float32", Pallas(), "dense, a diagonal or no R; 'slstm/heads4'"),
    "lanes": ("lstm", 192, "tpu", "float32", Pallas(), "a multiple of 128 units, up to 1024, not 192"),
    "large": ("lstm", 2048, "tpu", "bfloat16", Pallas(), "a multiple of 128 units, up to 1024, not 2048"),
    "tpu tile": ("lstm", 256, "tpu", "float32", Pallas(tile=8), "tile must be a multiple of 16 on a TPU, not 8"),
    "elsewhere": ("lstm", 64, "cpu", "float32", Pallas(backend="triton"), "for a CPU; allowed: interpret, or None"),
    "wrong backend": ("lstm", 64, "gpu", "float32", Pallas(backend="mosaic"), "for a GPU; allowed: triton, interpret"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_kernel_cannot_take_is_refused_in_one_line(case):
    name, units, platform, dtype, method, message = REFUSED[case]
    cell = find_cell(name)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN, units, dtype))
    inputs = jax.ShapeDtypeStruct((TIME, BATCH, IN), dtype)
    with program_for(platform), pytest.raises(ValueError, match=message) as refused:
        jax.eval_shape(lambda params, inputs: scan(cell, params, inputs, method=method), params, inputs)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tile": 0}, "tile must be at least 1, or None, not 0"),
        ({"chunk": -1}, "chunk must be at least 1, or None, not -1"),
        ({"backend": "cuda"}, "unknown backend 'cuda'; allowed: interpret, triton, mosaic, or None"),
    ],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Pallas(**fields)


def test_forward_mode_is_refused_with_the_method_that_has_it():
    cell = CELLS["rnn"]
    params, inputs = cell.init(jax.random.key(0), IN, UNITS), jnp.ones((TIME, BATCH, IN))
    with pytest.raises(TypeError, match='use method="reference"'):
        jax.jvp(lambda x: scan(cell, params, x, method="pallas")[0], (inputs,), (inputs,))


@pytest.mark.parametrize("device", ["cpu", "gpu", "tpu"])
def test_no_cell_takes_a_kernel_unless_it_is_named(device):
    assert "pallas" in METHODS
    for name in CELLS:
        assert not isinstance(resolve_method(find_cell(name), 64, 64, device=device), Pallas)
