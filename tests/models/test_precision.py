"""Products in bfloat16, everything else in float32."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

from rnnlab.models import LanguageModel, ManyToOne, Seq2Seq, Stack, compute_in
from rnnlab.models.embedding import Lookup, rows
from rnnlab.models.forecaster import Forecaster
from rnnlab.models.precision import Embed, Linear, einsum
from rnnlab.scans.product import apply_mask
from rnnlab.training.step import split_model
from tests import nightly

TIME, BATCH, IDS = 6, 4, 9
TOKENS = jax.random.randint(jax.random.key(0), (TIME, BATCH), 1, IDS)
NUMBERS = jax.random.normal(jax.random.key(1), (TIME, BATCH, 3))
LENGTHS = jnp.array([6, 5, 3, 1])
SIDE = {"cell": "lstm", "features": 16, "embedding": 16, "dropout": 0.2}


def _rounded(values):
    return np.asarray(values).astype(ml_dtypes.bfloat16).astype(np.float64)


@pytest.mark.parametrize("spec", ["abi,io->abo", "abi,oi->abo", "tbq,sbq->tbs", "tbs,sbm->tbm"])
def test_operands_are_rounded_in_both_passes_and_sums_and_the_gradient_of_weights_are_not(spec):
    sizes = dict(zip("abioqtsm", (3, 4, 7, 5, 7, 3, 6, 5), strict=True))
    read, made = spec.split("->")
    shapes = [[sizes[axis] for axis in own] for own in (*read.split(","), made)]
    left, right, d = (jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate(shapes))
    found, pull = jax.vjp(lambda *operands: einsum(spec, *operands, dtype=jnp.bfloat16), left, right)
    gradients = pull(d)
    of_left, of_right = read.split(",")
    wanted = np.einsum(spec, _rounded(left), _rounded(right))
    d_left = np.einsum(f"{made},{of_right}->{of_left}", _rounded(d), _rounded(right))
    d_right = np.einsum(f"{of_left},{made}->{of_right}", _rounded(left), _rounded(d))
    assert {found.dtype, *(gradient.dtype for gradient in gradients)} == {np.dtype("float32")}
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradients[0], _rounded(d_left), rtol=1e-2, atol=1e-5)  # rounded after its float32 sum
    np.testing.assert_allclose(gradients[1], d_right, rtol=1e-5, atol=1e-5)


def test_gradients_of_rows_that_are_looked_up_are_summed_in_float32():
    """In bfloat16 a sum of ones ends at 256."""
    ids = jnp.zeros((50, 20), jnp.int32)
    graph, state = nnx.split(compute_in("bfloat16", Embed(2, 1, rngs=nnx.Rngs(0))))
    summed = jax.grad(lambda own: nnx.merge(graph, own)(ids).astype(jnp.float32).sum())(state)
    np.testing.assert_array_equal(jax.tree.leaves(summed)[0][:, 0], [1000, 0])
    table = jax.grad(lambda table: rows(Lookup(ids, table)).astype(jnp.float32).sum())(jnp.ones((2, 1), jnp.bfloat16))
    assert float(table[0, 0]) == 1000


def test_a_bias_is_added_in_float32_and_only_wide_layers_return_it():
    inputs, bias = jnp.ones((2, 3)), 1 + 2.0**-12
    for wide, dtype in ((True, jnp.float32), (False, jnp.bfloat16)):
        layer = compute_in("bfloat16", Linear(3, 4, wide=wide, rngs=nnx.Rngs(0)))
        layer.kernel[...], layer.bias[...] = jnp.zeros((3, 4)), jnp.full(4, bias)
        found = layer(inputs)
        assert found.dtype == dtype
        assert float(found[0, 0]) == (bias if wide else 1)


def test_masks_have_the_dtype_of_what_they_mask():
    for dtype in (jnp.float32, jnp.bfloat16):
        assert apply_mask(jnp.ones(3, dtype), jnp.ones(3)).dtype == dtype


def _seq2seq(dtype, **options):
    return Seq2Seq(
        IDS, IDS, encoder=SIDE | {"bidirectional": True}, decoder=SIDE, dtype=dtype, rngs=nnx.Rngs(0), **options
    )


def _language_model(dtype, **options):
    stack = {"cell": "gru", "features": 16, "embedding": 16, "tied_embeddings": True}
    return LanguageModel(IDS, dtype=dtype, rngs=nnx.Rngs(0), **(stack | options))


def _prenorm(dtype, **options):
    blocks = {"cell": "s5", "block": "prenorm", "layers": 2, "pooling": "attention", "dropout": 0.1} | options
    return ManyToOne(3, 5, features=16, dtype=dtype, rngs=nnx.Rngs(0), **blocks)


def _forecaster(dtype, **options):
    stack = {"cell": "gru", "features": 16} | options
    return Forecaster(3, TIME, 4, segment=2, dtype=dtype, rngs=nnx.Rngs(0), **stack)


def _texts(model, rngs):
    return model(TOKENS, LENGTHS, TOKENS, rngs=rngs)


CASES = {
    "seq2seq": (_seq2seq, {"attention": "general"}, _texts),
    "additive": (_seq2seq, {"attention": "additive", "tied_embeddings": True}, _texts),
    "monotonic": (_seq2seq, {"attention": "monotonic"}, _texts),
    "fed": (_seq2seq, {"attention": "general", "bridge": "zero", "input_feeding": True, "context": "every_step"}, None),
    "language_model": (_language_model, {}, lambda m, rngs: m(TOKENS, m.start(BATCH), rngs=rngs).logits),
    "one_hot": (
        _language_model,
        {"embedding": 0, "tied_embeddings": False, "cell": "slstm/heads2"},
        lambda m, rngs: m(TOKENS, m.start(BATCH), rngs=rngs).logits,
    ),
    "prenorm": (_prenorm, {}, lambda m, rngs: m(NUMBERS, LENGTHS, rngs=rngs)),
    "batch_norm": (_prenorm, {"norm": "batch"}, lambda m, rngs: m(NUMBERS, LENGTHS, rngs=rngs)),
    "forecaster": (_forecaster, {}, lambda m, rngs: m(NUMBERS, rngs=rngs)),
}
_OTHERS = [name for name, (_, _, call) in CASES.items() if call and name != "seq2seq"]


@pytest.mark.parametrize("name", ["seq2seq", *nightly.only(*_OTHERS)])
def test_results_and_gradients_are_float32_and_near_those_of_the_float32_model(name):
    make, options, call = CASES[name]
    found = []
    for dtype in ("float32", "bfloat16"):
        merge, params = split_model(make(dtype, **options))

        def loss(params, merge=merge):
            outputs = call(merge(params), nnx.Rngs(dropout=1))
            return jnp.square(outputs).mean(), outputs

        (_, outputs), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        assert {leaf.dtype for leaf in jax.tree.leaves((outputs, gradients, params))} == {np.dtype("float32")}
        found.append((outputs, jnp.concatenate([own.ravel() for own in gradients.values()])))
    for wide, narrow in zip(*found, strict=True):
        error = float(jnp.linalg.norm(narrow - wide) / jnp.linalg.norm(wide))
        assert 1e-4 < error < 0.03, error


def _stored(dtype, **options):
    """The bytes that the backward pass of a stack reads of each step, those of booleans excluded."""
    sizes = {"in_features": 16, "features": 16, "layers": 2, "dropout": 0.1}
    merge, params = split_model(nnx.eval_shape(lambda: compute_in(dtype, Stack(rngs=nnx.Rngs(0), **sizes, **options))))

    def residuals(params, inputs):
        noise = merge(params).draw(nnx.Rngs(dropout=0), *inputs.shape[:2])
        return jax.vjp(lambda own: merge(own)(inputs, seq_lengths=LENGTHS, noise=noise), params)[1]

    found = jax.tree.leaves(jax.eval_shape(residuals, params, jnp.zeros((TIME, BATCH, 16))))
    numbers = [v for v in found if v.shape[:1] == (TIME,) and jnp.issubdtype(v.dtype, jnp.floating)]
    return sum(v.size * v.dtype.itemsize for v in numbers)


@pytest.mark.parametrize(
    "cell", ["lstm", *nightly.only("gru", "slstm/heads2", "lru", "lstm_layer_norm", "gru_reset_before")]
)
def test_what_a_stack_stores_for_the_backward_pass_takes_half_the_bytes(cell):
    assert 2 * _stored("bfloat16", cell=cell) == _stored("float32", cell=cell) > 0


@pytest.mark.parametrize("name", ["seq2seq", "monotonic", "fed"])
def test_the_states_of_a_decoder_stay_float32(name):
    make, options, _ = CASES[name]

    def decode(model):
        states, memory = model.encode(TOKENS, LENGTHS)
        return states, model.step(states, TOKENS[0], memory)

    before, (after, (logits, _)) = nnx.eval_shape(lambda: decode(make("bfloat16", **options)))
    assert jax.tree.map(lambda v: v.dtype, before) == jax.tree.map(lambda v: v.dtype, after)
    assert {leaf.dtype for leaf in jax.tree.leaves((after, logits))} == {np.dtype("float32")}


@pytest.mark.parametrize("name", ["float16", "float64", ""])
def test_another_dtype_is_refused(name):
    with pytest.raises(ValueError, match=r"dtype: unknown value '.*'; allowed: float32, bfloat16"):
        compute_in(name, Stack("rnn", 3, 4, rngs=nnx.Rngs(0)))
