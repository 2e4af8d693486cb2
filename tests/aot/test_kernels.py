"""Fused kernels for an H100 and a TPU v5e: lowered on every host, compiled where the compilers are installed."""

import importlib.util
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from rnnlab.aot import PLATFORMS, Target, compile_for, lower_for
from rnnlab.cells import find_cell
from rnnlab.scans import scan
from tests import nightly

_MISSING = [name for name in ("jax_cuda13_plugin", "libtpu") if importlib.util.find_spec(name) is None]
TIME, BATCH, IN = 100, 40, 64  # 40 rows are no whole number of tiles
KINDS = {"h100": "NVIDIA H100", "v5e": "TPU v5 lite"}
CALLS = {"h100": "__gpu$xla.gpu.triton", "v5e": "tpu_custom_call"}
ALL = ("lengths", "starts", "mask", "zoneout", "reverse")
LENGTHS = ("lengths",)
SPILLED = 16  # bytes
# cell, units, dtype, options
H100 = [
    *((name, units, "bfloat16", LENGTHS) for name in ("rnn", "gru", "lstm", "slstm") for units in (64, 128)),
    *((name, units, "bfloat16", LENGTHS) for name, units in (("slstm/heads2", 256), ("lstm/heads4", 512))),
    *((name, 160, "bfloat16", LENGTHS) for name in ("lstm/diagonal", "lru", "s5", "rg_lru", "min_lstm_log")),
    ("lstm", 128, "bfloat16", ALL),
    ("gru/diagonal", 128, "bfloat16", ALL),
    ("lstm", 64, "float32", ALL),
    ("slstm/diagonal", 128, "float32", ALL),
]
V5E = [
    *(("lstm", units, "bfloat16", LENGTHS) for units in (256, 512)),
    ("lstm", 1024, "bfloat16", ALL),
    ("gru", 1024, "bfloat16", LENGTHS),
    ("slstm", 1024, "bfloat16", LENGTHS),
    ("lstm", 512, "float32", LENGTHS),
    ("lstm/diagonal", 512, "bfloat16", ALL),
    *((name, 256, "bfloat16", LENGTHS) for name in ("lru", "rg_lru", "min_lstm_log")),
]
VMEM = 128 * 2**20  # bytes of a v5e


def _training_pass(name: str, units: int, dtype: str, options: tuple[str, ...]):
    """Returns the gradients of a layer, and the shapes of its arguments."""
    cell, shape = find_cell(name), jax.ShapeDtypeStruct
    steps = (TIME, BATCH, units)
    masks = {
        "lengths": {"seq_lengths": shape((BATCH,), jnp.int32)},
        "starts": {"segment_starts": shape(steps[:2], bool)},
        "mask": {"recurrent_mask": shape(steps[1:], jnp.float32)},
        "zoneout": {"zoneout_mask": tuple(shape(steps, bool) for _ in cell.state_names)},
        "reverse": {},
    }

    def loss(params, inputs, state, given):
        found = scan(cell, params, inputs, state=state, **given, reverse="reverse" in options, method="pallas")
        return sum((v.astype(jnp.float32) ** 2).sum() for v in jax.tree.leaves(found))

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN, units, dtype))
    given = {key: own for option in options for key, own in masks[option].items()}
    state = tuple(shape(steps[1:], dtype) for _ in cell.state_names)
    return jax.grad(loss, argnums=(0, 1, 2)), (params, shape((TIME, BATCH, IN), dtype), state, given)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_training_pass_is_lowered_to_one_kernel_for_each_direction(platform):
    device = AbstractDevice(KINDS[platform], num_cores=None, platform=PLATFORMS[platform].backend)
    target = Target(PLATFORMS[platform], AbstractMesh((1, 1), ("data", "model"), abstract_device=device))
    function, arguments = _training_pass("gru", 128, "bfloat16", ALL)
    assert lower_for(target, function, *arguments).as_text().count(f"@{CALLS[platform]}(") == 2


def _compiled(platform: str, case: tuple):
    function, arguments = _training_pass(*case)
    report = compile_for(function, *arguments, platform=platform)
    assert report.text.count(f'custom_call_target="{CALLS[platform]}"') == 2
    assert not report.program.loops
    return report


needs_compilers = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}")


@pytest.mark.aot
@needs_compilers
@pytest.mark.parametrize(
    "case", nightly.but(H100, ("lstm", 128, "bfloat16", ALL), ("lstm", 64, "float32", ALL)), ids=str
)
def test_a_training_pass_on_an_h100_is_two_kernels_that_keep_all_in_registers(case):
    assert _compiled("h100", case).spilled_bytes <= SPILLED


@pytest.mark.aot
@needs_compilers
@pytest.mark.parametrize(
    "case", nightly.but(V5E, ("lstm", 512, "float32", LENGTHS), ("lru", 256, "bfloat16", LENGTHS)), ids=str
)
def test_a_training_pass_on_a_tpu_is_two_kernels_within_its_memory(case):
    """The compiler refuses a kernel that needs more memory than it asks for."""
    asked = re.findall(r'"memory_space":"1","offset":"0","size":"(\d+)"', _compiled("v5e", case).text)
    assert 0 < max(map(int, asked)) <= VMEM
