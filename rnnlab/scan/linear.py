"""Linear recurrences s_t = A_t s_{t-1} + b_t over all steps at once, by an associative scan (Blelloch 1990).

Two steps in a row are one of the same form: (A', b') after (A, b) is (A' A, A' b + b'). The matrices are either S x S
for each unit, as nested lists of `[time, batch, hidden]` beside states of S such entries, or one array
`[time, batch, heads, n, n]` beside states `[time, batch, heads, n]`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Matrices = Any  # `[time, ..., n, n]`, or S lists of S arrays `[time, batch, hidden]`


def solve(matrices: Matrices, drives: Any, first: Any, *, block: int | None = None) -> Any:
    """The states after every step.

    Args:
      matrices, drives: A_t and b_t, time first.
      first: the state before the first step, as `drives` without time.
      block: steps of one associative scan; blocks follow one another. None: all of them; 1: a plain loop. It divides
        the time.
    """
    time = jax.tree.leaves(drives)[0].shape[0]
    block = time if block is None else block

    def of_block(entered: Any, parts: tuple[Matrices, Any]):
        own, driven = parts
        head = jax.tree.map(lambda v: v[0], (own, driven))
        start = jax.tree.map(jnp.add, apply(head[0], entered), head[1])
        if block == 1:
            return start, jax.tree.map(lambda v: v[None], start)
        driven = jax.tree.map(lambda v, s: v.at[0].set(s), driven, start)
        states = jax.lax.associative_scan(_after, (own, driven))[1]
        return jax.tree.map(lambda v: v[-1], states), states

    if block == time:
        return of_block(first, (matrices, drives))[1]
    parts = jax.tree.map(lambda v: v.reshape(-1, block, *v.shape[1:]), (matrices, drives))
    states = jax.lax.scan(of_block, first, parts)[1]
    return jax.tree.map(lambda v: v.reshape(time, *v.shape[2:]), states)


def solve_back(matrices: Matrices, drives: Any, *, block: int | None = None) -> Any:
    """The adjoint recurrence l_t = b_t + A_{t+1}^T l_{t+1}, from the last step, at which l is b, to the first."""
    following = jax.tree.map(lambda v: jnp.concatenate([v[:1], v[:0:-1]]), transpose(matrices))
    first = jax.tree.map(lambda v: jnp.zeros_like(v[0]), drives)
    found = solve(following, jax.tree.map(lambda v: v[::-1], drives), first, block=block)
    return jax.tree.map(lambda v: v[::-1], found)


def transpose(matrices: Matrices) -> Matrices:
    """A^T of each step."""
    if isinstance(matrices, list):
        return [list(column) for column in zip(*matrices, strict=True)]
    return jnp.swapaxes(matrices, -1, -2)


def apply(matrices: Matrices, states: Any) -> Any:
    """A s of each step."""
    if isinstance(matrices, list):
        return tuple(_dot(row, states) for row in matrices)
    return jnp.matmul(matrices, states[..., None], precision="highest")[..., 0]


def _times(late: Matrices, early: Matrices) -> Matrices:
    if isinstance(late, list):
        columns = transpose(early)
        return [[_dot(row, column) for column in columns] for row in late]
    return jnp.matmul(late, early, precision="highest")


def _dot(one, other) -> Array:
    first, *rest = (a * b for a, b in zip(one, other, strict=True))
    return sum(rest, first)


def _after(early, late):
    (early_matrices, early_drives), (matrices, drives) = early, late
    moved = apply(matrices, early_drives)
    return _times(matrices, early_matrices), jax.tree.map(jnp.add, moved, drives)
