import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.models.attention import Attention

TARGET, SOURCE, BATCH, QUERY, MEMORY = 3, 5, 2, 4, 4
LENGTHS = np.array([5, 2])


def _example(kind):
    attention = Attention(kind, QUERY, MEMORY, rngs=nnx.Rngs(0))
    query = jax.random.normal(jax.random.key(1), (TARGET, BATCH, QUERY))
    memory = jax.random.normal(jax.random.key(2), (SOURCE, BATCH, MEMORY))
    return attention, query, memory, jnp.arange(SOURCE)[:, None] < LENGTHS


def _score(attention, kind, q, m):
    kernels = {name: np.asarray(getattr(attention, name).kernel[...]) for name in ("project_keys",) if kind != "dot"}
    if kind == "dot":
        return q @ m
    if kind == "general":
        return q @ (m @ kernels["project_keys"])
    hidden = attention.project_query
    inner = q @ hidden.kernel[...] + hidden.bias[...] + m @ kernels["project_keys"]
    return float((np.tanh(inner) @ attention.score.kernel[...])[0])


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_context_is_the_softmax_weighted_mean_over_the_valid_steps(kind):
    attention, query, memory, valid = _example(kind)
    context, weights = attention(query, attention.keys(memory), memory, valid)
    for t in range(TARGET):
        for b, length in enumerate(LENGTHS):
            scores = np.array(
                [_score(attention, kind, np.asarray(query[t, b]), np.asarray(memory[s, b])) for s in range(length)]
            )
            wanted = np.exp(scores - scores.max())
            wanted /= wanted.sum()
            assert_close(weights[t, b, :length], wanted)
            assert not np.any(weights[t, b, length:])
            assert_close(context[t, b], wanted @ memory[:length, b])


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_an_empty_source_gives_a_context_of_zero_and_finite_gradients(kind):
    attention, query, memory, _ = _example(kind)
    valid = jnp.zeros((SOURCE, BATCH), bool)

    def context_sum(memory):
        return attention(query, attention.keys(memory), memory, valid)[0].sum()

    assert context_sum(memory) == 0
    assert np.isfinite(jax.grad(context_sum)(memory)).all()


def test_dot_between_two_sizes_and_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match=r"'dot' needs.* 4 and 6.*'general'"):
        Attention("dot", 4, 6, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="'genral'; allowed: dot, general, additive"):
        Attention("genral", 4, 4, rngs=nnx.Rngs(0))
