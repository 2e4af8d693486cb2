import importlib.util

import jax
import numpy as np
import pytest
from oracle import assert_close

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported, build
from rnnlab.cells import CELLS
from rnnlab.models.weights import from_linen

CASE = Case("gru", 2, 6, 8, "float32", "training")
OURS = ["rnnlab", "rnnlab/sqrt", "rnnlab/step/3", "rnnlab/block/all", "lax.scan"]


def _results(name, case=CASE):
    layer = build(name, case)
    stages = layer.build()
    assert all(stages[stage] > 0 for stage in ("trace_s", "lower_s", "compile_s"))
    return layer._compiled(*layer._arguments)


def test_every_way_of_ours_computes_the_same():
    """Values and gradients; the plain scan, differentiated by jax, is the one that is right."""
    *ways, wanted = [_results(name) for name in OURS]
    for found in ways:
        assert_close(found, wanted, 1e-5)


@pytest.mark.parametrize("pass_", ["forward", "training"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("name", ["flax.linen", "flax.nnx", "haiku", "equinox", "torch"])
def test_peers_run_every_case(name, cell, pass_):
    package = name.split(".")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    for dtype in ("float32", "bfloat16"):
        layer = build(name, Case(cell, 2, 4, 8, dtype, pass_))
        layer.build()
        layer.run()


def test_flax_does_the_same_work_as_ours():
    """With flax's weights in our layout the outputs agree, so that the times are of the same function."""
    import flax.linen as nn

    case = Case("lstm", 2, 4, 8, "float32", "forward")
    layer, inputs = nn.RNN(nn.OptimizedLSTMCell(8), time_major=True), build("rnnlab", case)._arguments[1]
    params = layer.init(jax.random.key(0), inputs)
    ours = build("rnnlab", case)
    ours.build()
    converted = from_linen(CELLS["lstm"], params["params"]["cell"])
    assert_close(ours._compiled(converted, inputs), np.asarray(layer.apply(params, inputs)), 1e-5)


@pytest.mark.parametrize("name", ["flax.linen", "flax.nnx"])
def test_a_cell_that_a_peer_lacks_is_unsupported(name):
    with pytest.raises(Unsupported, match="no cell 'rnn_relu'"):
        build(name, Case("rnn_relu", 2, 4, 8, "float32", "forward"))
