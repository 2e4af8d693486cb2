"""`combine` and its derivative inside a kernel, gate by gate.

A kernel has no array of all gates `[rows, gates * units]`: Triton cannot join arrays, and takes powers of two only. So
`combine` is traced once for a single row, and each operation of that program is repeated for every gate it applies to.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Literal, Var

from rnnlab.cells import Cell, Params, State

Gates = tuple[Array, ...]  # a value `[rows, gates * units]`, as an array `[rows, units]` for each gate
_CALLS = ("jit", "closed_call", "checkpoint", "custom_jvp_call", "custom_vjp_call")
_ACROSS_UNITS = ("axis", "axes", "dimension", "dimensions", "dimension_numbers", "jaxpr", "branches")


def combine(cell: Cell, params: dict[str, Gates], state: State, a: Gates, r: Gates) -> State:
    """Returns the state after a step of a pointwise cell.

    Args:
      params: what `combine` reads: one array `[1, units]` for each of `unit_params`, one for each gate of "b".
      state: the state before the step, entries `[rows, units]`.
      a, r: the projections, `[rows, units]` for each gate.

    Raises:
      ValueError: `combine` is not pointwise.
    """
    found = _by_gate(cell, cell.combine, params, _entries(state), a, r)
    return tuple(_like(old, *own) for own, old in zip(found, state, strict=True))


def pull(
    cell: Cell, params: dict[str, Gates], state: State, a: Gates, r: Gates, d_after: State
) -> tuple[dict[str, Gates], State, Gates, Gates]:
    """Returns the gradients of the arguments of `combine`, those of the parameters for each row.

    Args:
      params, state, a, r: as in `combine`.
      d_after: the gradient of the state after the step, entries `[rows, units]`.

    Raises:
      ValueError: the derivative of `combine` is not pointwise.
    """

    def pull_row(params: Params, state: State, a: Array, r: Array, d_after: State):
        after, pull_back = jax.vjp(cell.combine, params, state, a, r)
        return pull_back(tuple(d.astype(new.dtype) for d, new in zip(d_after, after, strict=True)))

    found = _by_gate(cell, pull_row, params, _entries(state), a, r, _entries(d_after))
    d_params, d_state, d_a, d_r = jax.tree.map(lambda own: _like(state[0], own), found)
    return d_params, tuple(own for (own,) in d_state), d_a, d_r


def _entries(state: State) -> tuple[Gates, ...]:
    return tuple((entry,) for entry in state)


def _like(wanted: Array, value: Array) -> Array:
    return jnp.broadcast_to(value, wanted.shape).astype(wanted.dtype)


def _by_gate(cell: Cell, function: Callable, params: dict[str, Gates], *values: Any) -> Any:
    """Returns `function(params, *values)`, with `Gates` for every array of arguments and result."""
    units = values[0][0][0].shape[-1]

    def of_a_row(*lead: int) -> Callable[[Gates], jax.ShapeDtypeStruct]:
        return lambda parts: jax.ShapeDtypeStruct((*lead, len(parts) * units), parts[0].dtype)

    shapes = (
        jax.tree.map(of_a_row(), params, is_leaf=_is_gates),
        *jax.tree.map(of_a_row(1), values, is_leaf=_is_gates),
    )
    program, result = jax.make_jaxpr(function, return_shape=True)(*shapes)
    try:
        found = _evaluate(program, jax.tree.leaves((params, *values), is_leaf=_is_gates), units)
    except _NotPointwiseError as error:
        raise ValueError(
            f"method 'pallas' takes cells whose combine is pointwise in the units; that of {cell.name!r} uses {error}"
        ) from None
    return jax.tree.unflatten(jax.tree.structure(result), found)


def _is_gates(value: Any) -> bool:
    return isinstance(value, tuple) and all(hasattr(part, "dtype") for part in value)


class _NotPointwiseError(Exception):
    """An operation that mixes units; its message names the operation."""


def _evaluate(program: ClosedJaxpr, arguments: Iterable[Gates], units: int) -> list[Gates]:
    """Evaluates a program for one row on the values of many; a sum over its only row changes nothing."""
    if any(jnp.ndim(const) for const in program.consts):
        raise _NotPointwiseError("an array that is neither state nor parameter")
    values: dict[Var, Gates] = dict(zip(program.jaxpr.constvars, ((const,) for const in program.consts), strict=True))
    values.update(zip(program.jaxpr.invars, arguments, strict=True))

    def read(var: Var | Literal) -> Gates:
        aval: Any = var.aval
        return (jnp.asarray(var.val, aval.dtype),) if isinstance(var, Literal) else values[var]

    for eqn in program.jaxpr.eqns:
        values.update(zip(eqn.outvars, _apply(eqn, [read(var) for var in eqn.invars], units), strict=True))
    return [read(var) for var in program.jaxpr.outvars]


def _apply(eqn: Any, operands: list[Gates], units: int) -> Iterable[Gates]:
    name, params = eqn.primitive.name, eqn.params
    if name in _CALLS:
        inner = params.get("call_jaxpr", params.get("jaxpr"))
        return _evaluate(inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ()), operands, units)
    sizes = [_gates_of(var.aval.shape, units) for var in eqn.outvars]
    if name in _REARRANGE:
        return _REARRANGE[name](params, operands, sizes, units)
    if name in ("reshape", "squeeze", "broadcast_in_dim") or (name == "reduce_sum" and params["axes"] == (0,)):
        return [operands[0] if len(operands[0]) == sizes[0] else _repeat(operands[0], sizes[0], name)]
    if any(key in params for key in _ACROSS_UNITS):
        raise _NotPointwiseError(name)
    return _pointwise(eqn, operands)


def _gates_of(shape: tuple[int, ...], units: int) -> int:
    """Returns the number of gates of a value of one row; 1 for a number."""
    return max(1, math.prod(shape) // units)


def _repeat(value: Gates, size: int, name: str) -> Gates:
    if len(value) != 1 or value[0].ndim:
        raise _NotPointwiseError(name)
    return value * size


def _pointwise(eqn: Any, operands: list[Gates]) -> list[Gates]:
    size = max(map(len, operands))
    found = []
    for own in zip(*(parts * (size if len(parts) == 1 else 1) for parts in operands), strict=True):
        shape = jnp.broadcast_shapes(*(part.shape for part in own))
        bind = _MISSING.get(eqn.primitive.name, eqn.primitive.bind)
        result = bind(*(jnp.broadcast_to(part, shape) for part in own), **eqn.params)
        found.append(result if eqn.primitive.multiple_results else [result])
    return list(zip(*found, strict=True))


def _expm1(x: Array, **_: Any) -> Array:
    return jnp.tanh(x / 2) * (jnp.exp(x) + 1)


_MISSING: dict[str, Callable] = {"expm1": _expm1}  # in the compiler for TPUs; as exact, also near 0


def _whole(size: Any, units: int, name: str) -> int:
    """Returns a number of columns in gates."""
    if size % units:
        raise _NotPointwiseError(f"{name} of a part of the units")
    return int(size) // units


def _split(params: dict, operands: list[Gates], sizes: list[int], units: int) -> list[Gates]:
    (value,) = operands
    cuts = [sum(_whole(size, units, "split") for size in params["sizes"][:n]) for n in range(len(sizes))]
    return [value[cut : cut + size] for cut, size in zip(cuts, sizes, strict=True)]


def _slice(params: dict, operands: list[Gates], sizes: list[int], units: int) -> list[Gates]:
    first = _whole(params["start_indices"][-1], units, "a slice")
    _whole(params["limit_indices"][-1], units, "a slice")
    if any(stride != 1 for stride in params["strides"] or ()):
        raise _NotPointwiseError("a slice of a part of the units")
    return [operands[0][first : first + sizes[0]]]


def _concatenate(params: dict, operands: list[Gates], sizes: list[int], units: int) -> list[Gates]:
    joined = sum(operands, ())
    if len(joined) != sizes[0]:
        raise _NotPointwiseError("concatenate of a part of the units")
    return [joined]


def _pad(params: dict, operands: list[Gates], sizes: list[int], units: int) -> list[Gates]:
    value, padding = operands
    low, high, inside = params["padding_config"][-1]
    if inside or min(low, high) < 0:
        raise _NotPointwiseError("pad of a part of the units")
    return [(*padding * _whole(low, units, "pad"), *value, *padding * _whole(high, units, "pad"))]


_REARRANGE: dict[str, Callable] = {"split": _split, "slice": _slice, "concatenate": _concatenate, "pad": _pad}
