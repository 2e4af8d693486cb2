"""Lowering for a GPU and a TPU on a host that has neither, without their compilers: every program of training."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from rnnlab.aot import PLATFORMS, Target, lower_for
from rnnlab.aot.programs import make_task, programs_of
from rnnlab.cells import CELLS, find_cell
from rnnlab.scans import methods_of, scan
from rnnlab.tasks.lag.task import default_config as lag_config
from rnnlab.tasks.language_model.config import default_config as text_config
from tests import nightly
from tests.exporting import symbolic_sizes

DTYPES = {"float32": "f32", "bfloat16": "bf16"}
_FEW = [("lstm", "sequential"), ("slstm/heads2", "newton"), ("min_gru", "associative")]
_ELSEWHERE = ("pallas",)  # in `test_kernels.py`
_OTHERS = [
    (cell, method)
    for cell in CELLS
    for method in methods_of(find_cell(cell))
    if (cell, method) not in _FEW and method not in _ELSEWHERE
]


def _target(platform: str) -> Target:
    """A target with this host's only device, which cannot be compiled for, but lowered for."""
    return Target(PLATFORMS[platform], Mesh(np.array(jax.devices()).reshape(1, 1), ("data", "model")))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("name", "method"), [*_FEW, *nightly.only(*_OTHERS)])
def test_a_training_pass_is_lowered_with_products_in_the_dtype_of_the_weights(name, method, platform, dtype):
    cell = find_cell(name)

    def loss(params, inputs, lengths):
        return scan(cell, params, inputs, seq_lengths=lengths, method=method)[0].astype(jnp.float32).sum()

    params = jax.eval_shape(lambda: jax.tree.map(lambda v: v.astype(dtype), cell.init(jax.random.key(0), 8, 8)))
    arguments = params, jax.ShapeDtypeStruct((4, 2, 8), dtype), jax.ShapeDtypeStruct((2,), jnp.int32)
    text = lower_for(_target(platform), jax.grad(loss, argnums=(0, 1)), *arguments).as_text()
    products = re.findall(r"stablehlo\.dot_general .*: \(tensor<[\dx]*x(\w+)>, tensor<[\dx]*x(\w+)>\)", text)
    assert products
    ours = method in ("sequential", "associative")  # jax differentiates "reference", Newton solves in float32
    if ours and "R" not in cell.reads_params:  # of `combine` jax computes the derivatives
        assert {dtype for pair in products for dtype in pair} == {DTYPES[dtype]}


def _lag() -> object:
    config = lag_config()
    config.model.update({"cell": "gru", "features": 8})
    config.training.update({"steps_per_call": 2, "batch_size": 4})
    return config


def _texts(folder) -> object:
    (folder / "text.txt").write_text("a line of text\n" * 99)
    config = text_config()
    config.data.files.train = str(folder / "text.txt")
    config.model.update({"cell": "min_gru", "features": 8})
    config.training.update({"batch_size": 4, "bptt": 12, "measure_every": 0})
    return config


@pytest.mark.parametrize(
    ("experiment", "platform"),
    [
        ("seq2seq", "h100"),
        ("language_model", "v5e"),
        *nightly.only(("seq2seq", "v5e"), ("language_model", "h100"), *(("lag", platform) for platform in PLATFORMS)),
    ],
)
def test_the_programs_of_a_config_are_lowered(experiment, platform, tiny_config, tmp_path):
    configs = {"seq2seq": tiny_config, "language_model": lambda: _texts(tmp_path), "lag": _lag}
    names = {"seq2seq": {"greedy", "beam"}, "language_model": {"continuation"}, "lag": set()}
    with symbolic_sizes():
        programs = {own.name: own for own in programs_of(make_task(configs[experiment]()), _target(platform))}
    assert {"train_step", "evaluation", *names[experiment]} <= set(programs)
    for name in ("train_step", "evaluation", *names[experiment]):
        lowered = lower_for(_target(platform), programs[name].function, *programs[name].arguments)
        parallel = (experiment, name) == ("language_model", "evaluation")  # min_gru, as an accelerator solves it
        assert ("stablehlo.while" in lowered.as_text()) != parallel
