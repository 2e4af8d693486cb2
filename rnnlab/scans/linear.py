"""Linear recurrences s_t = A_t s_{t-1} + b_t, parallel in time by an associative scan (Blelloch 1990).

Two consecutive steps are a step of the same form: (A', b') after (A, b) is (A' A, A' b + b'). The matrices are either
S x S for each unit, as nested lists of `[time, batch, hidden]` beside states of S such entries, or one array
`[time, batch, heads, n, n]` beside states `[time, batch, heads, n]`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.scans.machine import platform_in_use
from rnnlab.scans.plan import is_known

Matrices = Any  # `[time, ..., n, n]`, or S lists of S arrays `[time, batch, hidden]`
_BLOCK = 16


def solve(matrices: Matrices, drives: Any, first: Any, *, block: int | None = None) -> Any:
    """Returns the states after every step.

    Args:
      matrices, drives: A_t and b_t, time first.
      first: the state before the first step, as `drives` without time.
      block: steps of a block. 1: an associative scan over all steps; all of them: a loop. Otherwise all blocks run in
        parallel, each sequentially, twice: first for the matrix and drive of the whole block, which give the state at
        its start (by the same method), then for its states. None: 16 on a CPU, where 16 to 1024 were about equally
        fast; 1 elsewhere, not measured. A symbolic time is one block.
    """
    time = jax.tree.leaves(drives)[0].shape[0]
    block = block or (_BLOCK if platform_in_use() == "cpu" else 1)
    if not is_known(time):  # halving it would not end
        block = time
    if block == 1:
        return _solve_together(matrices, drives, first)
    blocks = jax.tree.map(lambda v: _cut(v, min(block, time)), (matrices, drives))
    if block >= time:
        begin = jax.tree.map(lambda v: v[None], first)
    else:
        left = solve(*_whole(blocks), first, block=block)
        begin = jax.tree.map(lambda v, after: jnp.concatenate([v[None], after[:-1]]), first, left)
    return jax.tree.map(lambda v: v.reshape(v.shape[0] * v.shape[1], *v.shape[2:])[:time], _go_through(blocks, begin))


def _solve_together(matrices: Matrices, drives: Any, first: Any) -> Any:
    own, driven = jax.tree.map(lambda v: v[0], (matrices, drives))
    start = jax.tree.map(jnp.add, apply(own, first), driven)
    drives = jax.tree.map(lambda v, s: v.at[0].set(s), drives, start)
    return jax.lax.associative_scan(_after, (matrices, drives))[1]


def _cut(values: Array, block: int) -> Array:
    """Returns `[blocks, block, ...]`, padded at the end with zero steps; their states are not used."""
    padding = -values.shape[0] % block
    padded = jnp.pad(values, [(0, padding)] + [(0, 0)] * (values.ndim - 1)) if padding else values
    return padded.reshape(padded.shape[0] // block, block, *values.shape[1:])


def _whole(blocks: tuple[Matrices, Any]) -> tuple[Matrices, Any]:
    """Returns the matrices and drives of blocks, `[blocks, ...]`."""
    steps = jax.tree.leaves(blocks)[0].shape[1]
    return jax.lax.fori_loop(1, steps, lambda step, so_far: _after(so_far, _at(blocks, step)), _at(blocks, 0))


def _go_through(blocks: tuple[Matrices, Any], begin: Any) -> Any:
    """Returns the states after every step; `begin` `[blocks, ...]` holds the state before each block."""

    def advance(step: Array, carry):
        states, found = carry
        matrices, drives = _at(blocks, step)
        states = jax.tree.map(jnp.add, apply(matrices, states), drives)
        write = functools.partial(jax.lax.dynamic_update_index_in_dim, index=step, axis=1)
        return states, jax.tree.map(write, found, states)

    nothing = jax.tree.map(jnp.zeros_like, blocks[1])
    steps = jax.tree.leaves(blocks)[0].shape[1]
    return jax.lax.fori_loop(0, steps, advance, (begin, nothing))[1]


def _at(blocks: Any, step: Array | int) -> Any:
    return jax.tree.map(lambda v: jax.lax.dynamic_index_in_dim(v, step, axis=1, keepdims=False), blocks)


def solve_back(matrices: Matrices, drives: Any, *, block: int | None = None) -> Any:
    """Solves the adjoint recurrence l_t = b_t + A_{t+1}^T l_{t+1}, from the last step, where l is b, to the first."""
    following = jax.tree.map(lambda v: jnp.concatenate([v[:1], v[:0:-1]]), transpose(matrices))
    first = jax.tree.map(lambda v: jnp.zeros_like(v[0]), drives)
    found = solve(following, jax.tree.map(lambda v: v[::-1], drives), first, block=block)
    return jax.tree.map(lambda v: v[::-1], found)


def transpose(matrices: Matrices) -> Matrices:
    """Returns A^T of each step."""
    if isinstance(matrices, list):
        return [list(column) for column in zip(*matrices, strict=True)]
    return jnp.swapaxes(matrices, -1, -2)


def apply(matrices: Matrices, states: Any) -> Any:
    """Returns A s of each step."""
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
