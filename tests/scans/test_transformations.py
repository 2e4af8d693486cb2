"""What jax does to programs, done to every method of scan: exported, split over devices, differentiated forwards."""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax.core import FrozenDict
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rnnlab.cells import find_cell
from rnnlab.scans import Associative, Plan, scan
from tests import nightly, tiny

WAYS = [
    ("rnn", "reference"),
    ("gru", "sequential"),
    ("lstm", Plan(4, project="block", recompute=True)),
    ("rnn/heads2", "newton"),
    ("lru", Associative(2)),
]
every_way = pytest.mark.parametrize(("name", "method"), WAYS, ids=str)
some_ways = pytest.mark.parametrize(
    ("name", "method"), [WAYS[1], WAYS[4], *nightly.only(WAYS[0], WAYS[2], WAYS[3])], ids=str
)


def _arguments(name):
    """Parameters, inputs and options, with a share of everything that changes what a step starts from."""
    params, inputs, _ = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), oracle.example(name))
    rng = np.random.default_rng(0)
    options = {
        "seq_lengths": jnp.array([6, 4, 0]),
        "segment_starts": jnp.asarray(rng.random((oracle.TIME, oracle.BATCH)) < 0.3),
        "recurrent_mask": jnp.asarray(rng.normal(size=(oracle.BATCH, oracle.HIDDEN)), jnp.float32),
    }
    return params, inputs, options


@functools.cache
def _program(name, method):
    """`(params, inputs, options) -> ((loss, outputs and last state), gradients of params and inputs)`"""

    def loss(params, inputs, options):
        results = scan(find_cell(name), params, inputs, method=method, **options)
        return sum((v * jnp.cos(v)).sum() for v in jax.tree.leaves(results)), results

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@functools.cache
def _plain(name, method):
    return _program(name, method)(*_arguments(name))


@some_ways
def test_a_symbolic_batch_and_time_are_exported(name, method):
    params, inputs, options = _arguments(name)
    batch, time = export.symbolic_shape("batch, time")
    shapes = {"seq_lengths": (batch,), "segment_starts": (time, batch), "recurrent_mask": (batch, oracle.HIDDEN)}
    exported = export.export(_program(name, method))(
        jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), params),
        jax.ShapeDtypeStruct((time, batch, oracle.IN), jnp.float32),
        {key: jax.ShapeDtypeStruct(shapes[key], value.dtype) for key, value in options.items()},
    )
    oracle.assert_close(exported.call(params, inputs, options), _plain(name, method))


def test_lengths_that_are_known_go_with_a_symbolic_time():
    params, inputs, _ = _arguments("rnn")
    lengths = np.arange(inputs.shape[1])
    (time,) = export.symbolic_shape("time")

    @jax.jit
    def run(inputs):
        return scan(find_cell("rnn"), params, inputs, seq_lengths=lengths)

    exported = export.export(run)(jax.ShapeDtypeStruct((time, *inputs.shape[1:]), jnp.float32))
    oracle.assert_close(exported.call(inputs), run(inputs))


@every_way
def test_shards_of_a_batch_sum_their_gradients(name, method):
    params, inputs, options = _arguments(name)
    rows, batch = P(None, "data"), P("data")
    laid_out = {"seq_lengths": batch, "segment_starts": rows, "recurrent_mask": batch}

    def of_shard(params, inputs, options):
        (loss, results), gradients = _program(name, method)(params, inputs, options)
        return (jax.lax.psum(loss, "data"), results), gradients

    sharded = jax.shard_map(
        of_shard,
        mesh=jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,)),
        in_specs=(P(), rows, laid_out),
        out_specs=((P(), (rows, batch)), (P(), rows)),
    )
    oracle.assert_close(jax.jit(sharded)(params, inputs, options), _plain(name, method))


def test_devices_that_share_a_batch_exchange_nothing_but_sums():
    command = [sys.executable, "-m", "tests.scans.rows_on_devices"]
    ended = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert len(found) == 6
    assert all(exchanged == ["all-reduce"] for exchanged, _ in found.values()), found
    assert all(difference < 1e-5 for _, difference in found.values()), found


@every_way
def test_explicit_axes_of_a_mesh_keep_their_layout(name, method):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))

    def place(value, *spec):
        return jax.device_put(value, NamedSharding(mesh, P(*spec)))

    params, inputs, options = _arguments(name)
    arguments = (
        place(params),
        place(inputs, None, "data"),
        {
            key: place(value, *((None, "data") if key == "segment_starts" else ("data",)))
            for key, value in options.items()
        },
    )
    with jax.set_mesh(mesh):
        (loss, results), gradients = _program(name, method)(*arguments)
    oracle.assert_close(((loss, results), gradients), _plain(name, method))
    assert jax.typeof(results[0]).sharding.spec == P(None, "data", None)
    assert {jax.typeof(entry).sharding.spec for entry in results[1]} == {P("data", None)}


@pytest.mark.parametrize("shape", [(6, 0), (0, 3)])
@every_way
def test_nothing_to_do_is_done(name, method, shape):
    params, inputs, _ = _arguments(name)
    (_, (outputs, final)), gradients = _program(name, method)(params, inputs[: shape[0], : shape[1]], {})
    assert outputs.shape == (*shape, oracle.HIDDEN)
    assert {entry.shape for entry in final} == {(shape[1], oracle.HIDDEN)}
    oracle.assert_close(gradients[0], jax.tree.map(jnp.zeros_like, params))


@some_ways
def test_parameters_may_be_another_mapping_and_more_than_the_cell_reads(name, method):
    params, inputs, options = _arguments(name)
    given = FrozenDict(params | {"other": jnp.ones(2)})
    _, (gradient, _) = _program(name, method)(given, inputs, options)
    assert isinstance(gradient, FrozenDict)
    _, (wanted, _) = _plain(name, method)
    oracle.assert_close(dict(gradient), wanted | {"other": np.zeros(2)})


def test_a_parameter_that_is_missing_is_named():
    params, inputs, _ = _arguments("lru")
    del params["theta"], params["b"]
    with pytest.raises(ValueError, match="params of cell 'lru' must have W, b, nu, theta, gain, but have no b, theta"):
        scan(find_cell("lru"), params, inputs)


FORWARDS = {
    "jvp": lambda f, x: jax.jvp(f, (x,), (x,)),
    "jvp, compiled": lambda f, x: jax.jit(lambda x: jax.jvp(f, (x,), (x,)))(x),
    "jacfwd": lambda f, x: jax.jacfwd(f)(x),
    "jacfwd of what is compiled": lambda f, x: jax.jacfwd(jax.jit(f))(x),
    "linearize": lambda f, x: jax.linearize(f, x)[1](x),
}


@pytest.mark.parametrize("forwards", FORWARDS.values(), ids=FORWARDS)
@every_way
def test_forward_mode_is_refused_by_the_name_of_the_method_that_has_it(name, method, forwards):
    params, inputs, _ = _arguments(name)
    run = functools.partial(_outputs, name, method, params)
    if method == "reference":
        forwards(run, inputs)
    else:
        with pytest.raises(TypeError, match=r'in reverse mode only .* use method="reference"'):
            forwards(run, inputs)


def _outputs(name, method, params, inputs):
    return scan(find_cell(name), params, inputs, method=method)[0]


def test_a_hessian_is_that_of_the_reference():
    """Forwards over backwards: what is differentiated forwards is the backward pass, not the scan."""
    params, inputs, _ = _arguments("rnn")

    def hessian(method):
        def loss(inputs):
            return (_outputs("rnn", method, params, inputs) ** 3).sum()

        return jax.jit(jax.hessian(loss))(inputs[:2, :1])

    oracle.assert_close(hessian("sequential"), hessian("reference"))
