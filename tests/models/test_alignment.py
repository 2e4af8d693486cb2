import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module, run_module

from rnnlab.models import Seq2Seq
from rnnlab.models.alignment import Monotonic, begin, move

SOURCE, LENGTHS = jnp.array([[3, 4], [5, 6], [4, 3], [6, 0]]), (4, 2)
TARGETS = jnp.array([[1, 1], [4, 5], [5, 4]])
LABELS = np.array([[4, 5], [5, 4], [2, 2]])


def _model(**options):
    side = {"cell": "lstm", "features": 5, "embedding": 4}
    sides = {"encoder": side | {"bidirectional": True}, "decoder": side | {"features": 6}}
    return draw_module(lambda: Seq2Seq(8, 7, **sides, attention="monotonic", rngs=nnx.Rngs(0), **options))


def _softmax(values):
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def _brute_force(model, row):
    """The probability of the labels: the sum over every way to go forward through the source, written out."""
    params = {name: np.asarray(value) for name, value in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    kernel = {name[-2]: np.asarray(value, np.float64) for name, value in params.items() if name[-1] == "kernel"}
    bias = params["decoder", "output", "bias"].astype(np.float64)
    states, _ = nnx.jit(Seq2Seq.encode)(model, SOURCE, jnp.array(LENGTHS))
    outputs, _ = run_module(model.encoder, SOURCE, jnp.array(LENGTHS))
    hidden, _ = run_module(model.decoder.stack, model.decoder.embedding(TARGETS), states[:-1])
    h, m = np.asarray(hidden, np.float64)[:, row], np.asarray(outputs, np.float64)[: LENGTHS[row], row]
    total = 0.0
    for places in itertools.combinations_with_replacement(range(LENGTHS[row]), len(LABELS)):
        probability, last = 1.0, 0
        for time, place in enumerate(places):
            far = [min(j - last, 8) for j in range(last, len(m))]
            distance = h[time] @ kernel["distance"] + params["decoder", "monotonic", "distance", "bias"]
            onward = _softmax((m @ kernel["project_keys"] @ h[time])[last:] + distance[far])
            mixed = np.tanh(h[time] @ kernel["mix_query"] + m[place] @ kernel["mix_memory"])
            said = _softmax(mixed @ kernel["output"] + bias)
            probability *= onward[place - last] * said[LABELS[time, row]]
            last = place
        total += probability
    return total


@pytest.mark.parametrize("row", [0, 1])
def test_the_probability_of_an_output_is_the_sum_over_all_ways_forward(row):
    model = _model()
    logits = run_module(model, SOURCE, jnp.array(LENGTHS), TARGETS)
    assert_close(jax.scipy.special.logsumexp(logits, axis=-1), jnp.zeros(logits.shape[:2]))
    said = sum(float(logits[time, row, label]) for time, label in enumerate(LABELS[:, row]))
    assert said == pytest.approx(np.log(_brute_force(model, row)), abs=1e-5)


def test_it_never_goes_back_nor_beyond_the_end():
    valid = jnp.array([[1, 1], [1, 1], [1, 0]], bool)
    hidden, keys = jax.random.normal(jax.random.key(0), (1, 2, 5)), jax.random.normal(jax.random.key(1), (3, 2, 5))
    moves = Monotonic(5, 6, rngs=nnx.Rngs(0)).moves(hidden, keys, valid)[0]
    place = begin(valid, 4).prior
    assert_close(np.exp(place), [[1, 0, 0], [1, 0, 0]])
    for row, length in enumerate((3, 2)):
        for start in range(length):
            at = jnp.where(jnp.arange(3) == start, 0.0, -1e9) * jnp.ones((2, 1))
            after = np.exp(move(at, moves))[row]
            assert (after[start:length] > 0).all()
            assert after.sum() == pytest.approx(1, abs=1e-6)
            assert not after[:start].any()
            assert not after[length:].any()


def test_an_empty_source_has_finite_values_and_gradients():
    model = _model()
    graph, params = nnx.split(model)

    def total(params):
        return nnx.merge(graph, params)(SOURCE, jnp.array([4, 0]), TARGETS)[..., 3].sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_context_in_every_step_is_refused():
    with pytest.raises(ValueError, match="context: 'every_step' is not allowed with attention 'monotonic'"):
        _model(context="every_step")
