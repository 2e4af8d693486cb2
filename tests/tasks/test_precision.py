"""`model.dtype` in every kind of task: what a training step computes in which dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import cmudict
from rnnlab.data.batch import Batch
from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.model import make_model
from rnnlab.training.flow import FlowProbe
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.step import TrainState, make_train_step, split_model
from tests import nightly
from tests.runs import loss_of
from tests.tasks import kinds

SEED = jax.ShapeDtypeStruct((), jnp.uint32)


def _programs(jaxpr):
    """A program and those within it."""
    yield jaxpr
    for eqn in jaxpr.eqns:
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _programs(inner)


def _products(jaxpr):
    """The dtypes of every product in a program: of both operands and of the result."""
    dots = (eqn for own in _programs(jaxpr) for eqn in own.eqns if eqn.primitive.name == "dot_general")
    return [tuple(str(v.aval.dtype) for v in (*eqn.invars, *eqn.outvars)) for eqn in dots]


@pytest.mark.parametrize("kind", ["seq2seq", "language_model", *nightly.only("classes", "tags", "forecast", "lag")])
def test_a_step_multiplies_in_bfloat16_and_keeps_parameters_optimizer_and_loss_in_float32(tmp_path, kind):
    task, batch, carry = kinds.make(kind, tmp_path, model__dtype="bfloat16")
    training = task.config.training
    training.optimizer = "adam"
    merge, params = split_model(task.sketch)
    optimizer = make_optimizer(training)
    state = jax.eval_shape(lambda params, carry: TrainState.start(params, optimizer, carry), params, carry)
    step = make_train_step(task.loss, merge, optimizer, training)
    program, (after, metrics) = jax.make_jaxpr(step, return_shape=True)(state, batch, SEED)
    products = _products(program.jaxpr)
    assert len(products) > 8
    assert set(products) == {("bfloat16", "bfloat16", "float32")}
    assert jax.tree.map(lambda v: v.dtype, after) == jax.tree.map(lambda v: v.dtype, state)
    floats = {v.dtype for v in jax.tree.leaves((after, metrics)) if jnp.issubdtype(v.dtype, jnp.floating)}
    assert floats == {np.dtype("float32")}
    assert jax.tree.map(lambda v: v.dtype, after.params) == dict.fromkeys(params, np.dtype("float32"))


def _stored(config):
    """The bytes that the backward pass of the main job reads, parameters excluded: 64 words of 9 letters and phones."""
    ids, lengths = jax.ShapeDtypeStruct((9, 64), jnp.int32), jax.ShapeDtypeStruct((64,), jnp.int32)
    merge, params = split_model(nnx.eval_shape(lambda: make_model(config, 33, 43)))

    def residuals(params, batch):
        def total(own):
            rngs = nnx.Rngs(dropout=0, sampling=1)
            return loss_of(config)(merge(own), batch, (), rngs=rngs, step=jnp.int32(0)).total

        return jax.vjp(total, params)[1]

    found = jax.tree.leaves(jax.eval_shape(residuals, params, Batch(ids, lengths, ids, ids, lengths)))
    whole = {v.shape for v in params.values()}
    return sum(v.size * v.dtype.itemsize for v in found if v.shape not in whole)


@pytest.mark.nightly
def test_the_main_job_stores_half_the_bytes():
    """But for logits, softmax and states of single steps, which stay float32: 6.7 MB instead of 12.5."""
    config = cmudict.get_config()
    wide = _stored(config)
    config.model.dtype = "bfloat16"
    assert _stored(config) < 0.54 * wide


@pytest.mark.nightly
def test_gradient_flow_is_measured_in_float32(tmp_path):
    flows = []
    for dtype in ("float32", "bfloat16"):
        task = kinds.make("lag", tmp_path, model__dtype=dtype, model__cell="lstm").task
        _, params = split_model(task.make_model())
        flows.append(FlowProbe(task, task.probe("validation")).measure(params)["0"].values)
    for name, value in flows[0].items():
        np.testing.assert_allclose(flows[1][name], value, rtol=2e-2, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("kind", nightly.but(kinds.KINDS, "lag"))
def test_a_dtype_that_is_not_allowed_is_refused_at_the_start(tmp_path, kind):
    with pytest.raises(UserError, match=r"config\.model: dtype: unknown value 'float16'; allowed: float32, bfloat16"):
        kinds.make(kind, tmp_path, model__dtype="float16")
