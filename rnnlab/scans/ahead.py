"""Partial evaluation: moves what does not depend on the state out of the loop over steps."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Literal

First = Callable[[Any], Sequence[Array]]
Rest = Callable[[Sequence[Array], Any], Any]


def split_known(function: Callable[[Any, Any], Any], known: Any, later: Any) -> tuple[First, Rest]:
    """Splits `function(known, later)` into what depends on `known` alone, and the rest.

    Args:
      function: of two trees of arrays, without side effects.
      known, later: its arguments, or their shapes.

    Returns:
      `first(known) -> values`, and `rest(values, later) -> function(known, later)`.
    """
    program, result = jax.make_jaxpr(function, return_shape=True)(known, later)
    jaxpr, consts = program.jaxpr, program.consts
    number = len(jax.tree.leaves(known))
    free, early = set(jaxpr.constvars), set(jaxpr.invars[:number])
    first, rest = [], []
    for equation in jaxpr.eqns:
        needed = {var for var in equation.invars if not isinstance(var, Literal)}
        if needed <= free:  # constants, which cost nothing to compute twice
            free |= set(equation.outvars)
        elif needed <= free | early:
            early |= set(equation.outvars)
        if needed <= free | early:
            first.append(equation)
        if needed <= free or not needed <= free | early:
            rest.append(equation)
    used = [var for equation in rest for var in equation.invars] + jaxpr.outvars
    values = list(dict.fromkeys(var for var in used if not isinstance(var, Literal) and var in early))
    ahead = jaxpr.replace(invars=jaxpr.invars[:number], outvars=values, eqns=first)
    behind = jaxpr.replace(invars=[*values, *jaxpr.invars[number:]], eqns=rest)
    structure = jax.tree.structure(result)

    def run_rest(values: Sequence[Array], later: Any) -> Any:
        return jax.tree.unflatten(structure, jax.core.eval_jaxpr(behind, consts, *values, *jax.tree.leaves(later)))

    return lambda known: jax.core.eval_jaxpr(ahead, consts, *jax.tree.leaves(known)), run_rest
