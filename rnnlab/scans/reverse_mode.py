"""A message for forward-mode differentiation of a custom VJP, which has reverse mode only.

The message of jax, "can't apply forward-mode autodiff (jvp) to a custom_vjp function", names a function that no user
wrote.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def refuse_forward_mode(values: Any) -> Any:
    """Returns the same arrays, but refuses their forward derivative (`jax.jvp`, `jax.jacfwd`, `jax.linearize`).

    Raises:
      TypeError: when that derivative is taken; under `jax.jit` when it is compiled.
    """
    return jax.tree.map(lambda v: _value.bind(v) if jnp.issubdtype(v.dtype, jnp.inexact) else v, values)


def _refuse(*_, **__):
    raise TypeError(
        "scan: this method has derivatives in reverse mode only (jax.grad, jax.vjp); "
        'for forward mode (jax.jvp, jax.jacfwd) use method="reference"'
    )


# Reverse mode transposes a tangent and never computes it; every way to compute one is refused.
_tangent = Primitive("reverse_mode_tangent")
_tangent.def_abstract_eval(lambda tangent: tangent)
_tangent.def_impl(_refuse)
mlir.register_lowering(_tangent, _refuse)
batching.primitive_batchers[_tangent] = _refuse
ad.deflinear2(_tangent, lambda cotangent, _: [cotangent])

_value = Primitive("reverse_mode_value")
_value.def_abstract_eval(lambda value: value)
_value.def_impl(lambda value: value)
mlir.register_lowering(_value, lambda _, value: [value])
batching.defvectorized(_value)
ad.primitive_jvps[_value] = lambda values, tangents: (values[0], _tangent.bind(tangents[0]))
