"""Programs for another machine: plan and method are those of the platform that they are made for."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

from rnnlab.cells import CELLS, find_cell
from rnnlab.scans import Associative, Plan, program_for, resolve_method, resolve_plan, scan
from rnnlab.scans.machine import has_several_devices, platform_in_use

TIME, BATCH, FEATURES = 64, 4, 8


def _lowered(name: str, *, method="auto", platform: str = "cuda") -> str:
    cell = find_cell(name)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), FEATURES, FEATURES))
    inputs = jax.ShapeDtypeStruct((TIME, BATCH, FEATURES), jnp.float32)
    training = jax.jit(jax.grad(lambda p, x: scan(cell, p, x, method=method)[0].sum(), argnums=(0, 1)))
    return training.trace(params, inputs).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("name", "method"), [("lstm", Plan(TIME, project="block")), ("min_gru", Associative(1))])
def test_a_program_lowered_for_a_gpu_on_a_cpu_host_has_the_gpus_plan(name, method):
    with program_for("gpu"):
        found = _lowered(name)
        assert found == _lowered(name, method=method)
    assert found != _lowered(name)


def test_one_jitted_function_is_traced_for_each_machine():
    seen = []

    @jax.jit
    def function(x):
        seen.append((platform_in_use(), has_several_devices()))
        return x

    function(1.0)
    with program_for("gpu", devices=4):
        function(1.0)
        with program_for("tpu"):
            function(1.0)
    function(1.0)
    assert seen == [("cpu", False), ("gpu", True), ("tpu", False)]


def test_without_a_given_machine_the_device_in_use_decides(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # a host with a card
    cell = CELLS["lstm"]
    assert resolve_plan(cell, TIME, BATCH) == resolve_plan(cell, TIME, BATCH, device="gpu")
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu"))
    for context in (jax.default_device(jax.devices("cpu")[0]), jax.default_device("cpu"), jax.set_mesh(mesh)):
        with context:
            assert resolve_plan(cell, TIME, BATCH) == resolve_plan(cell, TIME, BATCH, device="cpu")
            with program_for("cuda"):
                assert platform_in_use() == "gpu"
    assert isinstance(resolve_method(CELLS["min_gru"], TIME, BATCH), Associative)


@pytest.mark.parametrize(("platform", "devices", "message"), [("npu", 1, "cpu, gpu, tpu"), ("gpu", 0, "at least 1")])
def test_a_machine_that_cannot_be_is_refused(platform, devices, message):
    with pytest.raises(ValueError, match=message):
        program_for(platform, devices=devices)
