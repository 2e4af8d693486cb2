"""Compiling for an H100 and a TPU v5e: kernels per step, and collectives in loops, stay within `budgets.py`."""

import importlib.util

import jax
import pytest

from configs import cmudict
from rnnlab.aot import compile_for, find_target
from rnnlab.aot.programs import make_task, programs_of
from rnnlab.errors import UserError
from tests import nightly
from tests.aot.budgets import LAYERS, MESHES, SEARCHES, TOKENS
from tests.aot.layers import TIME, layer
from tests.exporting import symbolic_sizes

_MISSING = [name for name in ("jax_cuda13_plugin", "libtpu") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)} (requirements/aot.txt)"),
]


@pytest.mark.parametrize("name", nightly.but(LAYERS, "lstm", "gru"))
def test_a_layer_launches_no_more_kernels_per_step(name):
    function, arguments = layer(name)
    report = compile_for(function, *arguments, platform="h100")
    forward, backward = report.program.loops
    assert (forward.backward, backward.backward) == (False, True)
    assert forward.kernels.total() * forward.steps <= LAYERS[name][0] * TIME
    assert backward.kernels.total() * backward.steps <= LAYERS[name][1] * TIME
    assert report.spilled_bytes == 0


def test_a_layer_compiles_for_a_tpu():
    function, arguments = layer("lstm")
    report = compile_for(function, *arguments, platform="v5e")
    assert [loop.backward for loop in report.program.loops] == [False, True]
    assert report.argument_bytes > sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(arguments[:2]))


def _of_more_steps(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Gives `[time, batch]` so many steps that loops over them remain loops."""
    shape = (TIME, *leaf.shape[1:]) if leaf.ndim > 1 else leaf.shape
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=leaf.sharding)


def _programs(mesh: tuple[int, int] = (1, 1)):
    config = cmudict.get_config()
    config.training.model_parallel = mesh[1]
    target = find_target("h100", mesh)
    with symbolic_sizes():
        return target, {own.name: own for own in programs_of(make_task(config), target)}


def test_a_program_that_does_not_fit_into_memory_is_refused():
    square = jax.ShapeDtypeStruct((100_000, 100_000), "float32")  # 40 GB; a v5e has 16
    with pytest.raises(UserError, match="more memory than a device has"):
        compile_for(lambda x: x @ x, square, platform="v5e")


@pytest.mark.parametrize("name", nightly.but(SEARCHES, "greedy"))
def test_a_search_launches_no_more_kernels_per_token(name):
    target, programs = _programs()
    report = compile_for(programs[name].function, *programs[name].arguments, platform=target)
    (search,) = (loop for loop in report.program.loops if loop.steps is None)
    assert search.kernels.total() + search.condition <= SEARCHES[name] * TOKENS


@pytest.mark.parametrize("mesh", nightly.but(MESHES, (4, 1)), ids=lambda mesh: "x".join(map(str, mesh)))
def test_a_training_step_has_no_more_collectives_in_its_loops(mesh):
    target, programs = _programs(mesh)
    state, batch, seed = programs["train_step"].arguments
    report = compile_for(
        programs["train_step"].function, state, jax.tree.map(_of_more_steps, batch), seed, platform=target
    )
    assert report.program.loops
    assert report.program.collectives["all-reduce"]  # of the gradients
    assert report.program.collectives_in_loops <= MESHES[mesh]
