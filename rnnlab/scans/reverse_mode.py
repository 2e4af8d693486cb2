"""A derivative written by hand goes backwards only: a forward one is refused by a message that names what allows it.

jax by itself says "can't apply forward-mode autodiff (jvp) to a custom_vjp function", of a function that no user wrote.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def refuse_forward_mode(values: Any) -> Any:
    """Returns the same arrays, whose forward derivative (`jax.jvp`, `jax.jacfwd`, `jax.linearize`) cannot be taken.

    Raises:
      TypeError: where one is; under `jax.jit` when that is compiled.
    """
    return jax.tree.map(lambda v: _value.bind(v) if jnp.issubdtype(v.dtype, jnp.inexact) else v, values)


def _refuse(*_, **__):
    raise TypeError(
        "scan: this method has derivatives in reverse mode only (jax.grad, jax.vjp); "
        'for forward mode (jax.jvp, jax.jacfwd) give method="reference"'
    )


# Reverse mode transposes a tangent and never computes it; what would compute it is refused.
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
