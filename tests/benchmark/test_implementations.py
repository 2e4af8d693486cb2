import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest
from oracle import assert_close

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported, build
from rnnlab.benchmark.implementations.jax_layer import Rows
from rnnlab.cells import CELLS
from rnnlab.models.weights import from_linen
from tests import nightly, tiny

CASE = Case("gru", 2, 6, 8, "float32", "training")
OURS = [
    "rnnlab",
    "rnnlab/sqrt",
    "rnnlab/step/3",
    "rnnlab/block/all",
    "rnnlab/apart/3",
    "rnnlab/sequential",
    "rnnlab/newton/3",
]


def _results(name, case=CASE):
    layer = build(name, case)
    stages = layer.build()
    assert all(stages[stage] > 0 for stage in ("trace_s", "lower_s", "compile_s"))
    return [compiled(*arguments) for compiled, arguments in zip(layer.compiled, layer.calls, strict=True)]


def test_every_way_of_ours_computes_the_same():
    """Values and gradients; the plain scan, differentiated by jax, is the one that is right."""
    wanted = _results("lax.scan")
    for name in OURS:
        assert_close(_results(name), wanted, 1e-5)


_OVER_CORES = """
import os, sys
import jax, numpy
from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import build, count_cores
for name, file in (("rnnlab/cores", "divided"), ("rnnlab", "whole")):
    layer = build(name, Case("lstm", 2 * count_cores(), 6, 8, "float32", "training"))
    layer.build()
    results = layer.compiled[0](*layer.calls[0])
    numpy.savez(os.path.join(sys.argv[1], file), *jax.tree.leaves(results))
"""


def test_a_batch_divided_among_cores_gives_the_same(tmp_path):
    """In a process of its own, whose jax has no devices yet."""
    subprocess.run([sys.executable, "-c", _OVER_CORES, tmp_path], cwd=tiny.ROOT, check=True)
    divided, whole = (dict(np.load(tmp_path / f"{file}.npz")) for file in ("divided", "whole"))
    assert len(whole) == 5  # outputs; gradients of W, R, b and of the inputs
    assert_close(divided, whole, 1e-5)


def test_a_batch_that_does_not_divide_among_cores_is_unsupported(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    with pytest.raises(Unsupported, match="shards only batches of sequences of equal lengths over 2 cores"):
        build("rnnlab/cores", Case("lstm", 1, 6, 8, "float32", "training"))


def test_a_linear_cell_has_an_associative_scan_and_no_other_has():
    case = Case("min_gru", 2, 6, 8, "float32", "training")
    wanted = _results("lax.scan", case)
    for name in ("rnnlab/associative", "rnnlab/associative/3"):
        assert_close(_results(name, case), wanted, 1e-5)
    with pytest.raises(Unsupported, match="cell 'gru' has only the methods sequential, reference, newton"):
        build("rnnlab/associative", CASE)


@pytest.mark.parametrize(("cell", "most"), [("min_gru", 2), ("gru", 6)])
def test_iterations_of_newton_are_told(cell, most):
    """A linear recurrence is solved by the first iteration; the second sees that nothing is left."""
    facts = build("rnnlab/newton/full", Case(cell, 2, 64, 8, "float32", "forward")).facts()
    assert facts["newton_converged"]
    assert 1 < facts["newton_iterations"] <= most


PEERS = dict.fromkeys(("flax.linen", "flax.nnx", "haiku", "torch"), ("rnn", "gru", "lstm")) | {
    "equinox": ("gru", "lstm")
}


@pytest.mark.parametrize("pass_", [*nightly.only("forward"), "training"])
@pytest.mark.parametrize(("name", "cell"), [(name, cell) for name, cells in PEERS.items() for cell in cells])
def test_peers_run_every_case_that_they_have(name, cell, pass_):
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
    layer, inputs = nn.RNN(nn.OptimizedLSTMCell(8), time_major=True), build("rnnlab", case).calls[0][1].inputs
    params = layer.init(jax.random.key(0), inputs)
    ours = build("rnnlab", case)
    converted = from_linen(CELLS["lstm"], params["params"]["cell"])
    assert_close(ours.function([converted], Rows(inputs)), np.asarray(layer.apply(params, inputs)), 1e-5)


@pytest.mark.parametrize("name", ["flax.linen", "flax.nnx"])
def test_a_cell_that_a_peer_lacks_is_unsupported(name):
    with pytest.raises(Unsupported, match="no cell 'rnn_relu'"):
        build(name, Case("rnn_relu", 2, 4, 8, "float32", "forward"))
