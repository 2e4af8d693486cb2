"""Partial evaluation of a function of what is known before a loop, and of what is not."""

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.scans.ahead import split_known


def _function(known, later):
    scale = jnp.exp(known["a"]) + jnp.float32(2) * jnp.arange(3.0)
    return {
        "sum": (jnp.tanh(later) * scale).sum() + known["b"],
        "known": known["b"] * 3,
        "later": later + jnp.arange(3.0),
    }


def test_both_parts_together_are_the_function_and_the_second_computes_nothing_that_was_known():
    known, later = {"a": jnp.array([0.1, 0.2, 0.3]), "b": jnp.array(4.0)}, jnp.array([1.0, -1.0, 0.5])
    first, rest = split_known(_function, known, later)
    found, wanted = rest(first(known), later), _function(known, later)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])
    early, late = (str(jax.make_jaxpr(part)(*own)) for part, own in ((first, (known,)), (rest, (first(known), later))))
    assert "exp" in early
    assert "exp" not in late
    assert "tanh" in late
    assert "tanh" not in early
