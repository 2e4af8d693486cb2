"""A nonlinear recurrence, parallel in time: Newton's method on the T equations s_t = f(s_{t-1}, x_t).

Each iteration solves the linearised recurrence by an associative scan: DEER (Lim et al. 2024, arXiv 2309.12252). With
only the diagonal of the Jacobian it is quasi-DEER, and it can be damped (Gonzalez et al. 2024, arXiv 2407.19115). For a
diagonal R the diagonal is exact (ParaRNN: Danieli et al. 2025, arXiv 2510.21450). Gradients are taken at the solution,
by one linear recurrence backwards in time.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import linear, parallel
from rnnlab.scans.backward import Pull, backward
from rnnlab.scans.loop import run_blocks
from rnnlab.scans.parallel import AllSteps, Linearisation, Solution
from rnnlab.scans.plan import Plan, resolve_plan
from rnnlab.scans.precision import exact_products
from rnnlab.scans.product import project
from rnnlab.scans.pull import pull_steps
from rnnlab.scans.residuals import Residuals, after_each, before_each, split
from rnnlab.scans.sequences import Sequences, flip
from rnnlab.scans.sharding import vary_alike

JACOBIANS = ("auto", "full", "diagonal")
_LARGEST_BLOCK = 32  # "auto" takes the full Jacobian up to this many numbers in the state of a head
_TRUST = 10  # largest estimated error, in tolerances
_SETTLED = 0.1  # the error estimate is final when its last correction is below this share of it


@dataclasses.dataclass(frozen=True)
class Newton:
    """Settings of Newton's method.

    Main arguments:
      jacobian: "full": a block for each head of R; "diagonal": an S x S block for each unit, where S is the number of
        entries of the state; "auto": full for heads whose state has up to 32 numbers and for cells that mix units, else
        diagonal. With a diagonal R the two are the same.
      tolerance: the largest last change of a state at which the iteration has converged, relative to the larger of 1
        and the size of the state. The error estimated at the end may be ten times as large.
      iterations: the largest number of iterations in one chunk. If that is not enough, the sequential scan gives the
        result.

    Other arguments:
      damping: 0 to 1, scales the Jacobians down: 0 is Newton's method, 1 a fixed-point iteration. It prevents overflow
        where products of Jacobians grow (the scaled form of ELK's trust region) and slows convergence elsewhere.
      chunk: the number of steps that are solved together; chunks are solved one after another, in the memory of one
        chunk. It must divide the number of steps. None: all steps.

    Raises:
      ValueError: a value outside these ranges.
    """

    jacobian: str = "auto"
    damping: float = 0.0
    tolerance: float = 1e-6
    iterations: int = 100
    chunk: int | None = None

    def __post_init__(self):
        if self.jacobian not in JACOBIANS:
            raise ValueError(f"newton: unknown jacobian {self.jacobian!r}; allowed: {', '.join(JACOBIANS)}")
        if not 0 <= self.damping <= 1:
            raise ValueError(f"newton: damping must be in 0 to 1, not {self.damping}")
        if not self.tolerance > 0:
            raise ValueError(f"newton: tolerance must be above 0, not {self.tolerance}")
        for field in ("iterations", "chunk"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"newton: {field} must be at least 1, not {value}")


class Report(NamedTuple):
    """How Newton's method found a solution.

    Attributes:
      converged: whether the result is that of the iteration; otherwise it is that of the sequential scan.
      iterations: the largest number of iterations that a chunk took.
      change: the last change of a state, relative to the larger of 1 and its size.
      error: the estimated distance to the exact recurrence that rounding alone would cause, in the same measure. Where
        it is large, neighbouring trajectories diverge, and any float32 result depends on its own rounding.
      states: all entries of the state after each step, `[time, batch, hidden]`: the `guess` for the next training step.
    """

    converged: Array
    iterations: Array
    change: Array
    error: Array
    states: State


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(
    cell: Cell, method: Newton, params: Params, given: Sequences, guess: State | None = None
) -> tuple[Array, State, Report]:
    """Returns `h` of every step `[time, batch, hidden]`, the last state and a report.

    The iteration starts from the states `guess`; None: from the initial state at every step.
    """
    return _forward(cell, method, params, given, guess)[0]


@exact_products
def _forward(cell: Cell, method: Newton, params: Params, given: Sequences, guess: State | None = None):
    projected, time = given.with_inputs(project(params, given.steps.inputs)), given.time
    ordered, size = projected.in_order(), method.chunk or time
    cut = ordered.steps, flip(guess, given.reverse)
    chunks = jax.tree.map(lambda v: v.reshape(time // size, size, *v.shape[1:]), cut)
    linearisation = _linearisation(cell, params, method)

    def of_chunk(before: _Before, at_chunk):
        steps, start = at_chunk
        chunk = _Chunk(params, AllSteps.of(dataclasses.replace(ordered, steps=steps)), linearisation)
        states, doubts, found = _solve(chunk, method, before, start)
        return _Before(_last(states), _last(doubts), found.converged), (states, found)

    begin = vary_alike(_Before(given.initial, jax.tree.map(jnp.zeros_like, given.initial), jnp.array(True)))
    (_, _, converged), (states, reports) = jax.lax.scan(of_chunk, begin, chunks)

    def in_parallel() -> Solution:
        joined = jax.tree.map(lambda v: v.reshape(time, *v.shape[2:]), states)
        return Solution.of_states(given, flip(joined, given.reverse), given.dtype(params))

    def one_by_one() -> Solution:
        plan = dataclasses.replace(resolve_plan(cell, time, given.steps.inputs.shape[1]), joined=False)
        final, _, stored = run_blocks(cell, plan, params, given, store=True)
        stored = split(stored)
        rest = tuple(own.astype(first.dtype) for own, first in zip(stored.rest_before, given.initial[1:], strict=True))
        return Solution(stored.hidden, rest, final)

    found = jax.lax.cond(converged, in_parallel, one_by_one)
    stored = parallel.residuals_of(cell, params, projected, found)
    pairs = zip(found.rest_before, found.final[1:], strict=True)
    rest_after = (after_each(entry, last, given.reverse) for entry, last in pairs)
    iterations, change, error = (value.max() for value in reports[1:4])
    report = Report(converged, iterations, change, error, (found.hidden, *rest_after))
    return (found.hidden, found.final, report), (Residuals(params, given, (), stored), guess)


@exact_products
def _backward(cell: Cell, method: Newton, residuals: tuple[Residuals, State | None], cotangents: tuple):
    of_scan, guess = residuals
    linearisation = _linearisation(cell, of_scan.params, method)
    plan = Plan(method.chunk or cotangents[0].shape[0], project="block")
    if linearisation.exact:
        pull: Pull = functools.partial(parallel.pull_steps, linearisation, None)
    else:
        pull = functools.partial(pull_steps, cell, plan)
    d_guess = None if guess is None else jax.tree.map(jnp.zeros_like, guess)
    return *backward(cell, plan, of_scan, cotangents[:2], pull), d_guess


run.defvjp(_forward, _backward)


def _last(states: State) -> State:
    return tuple(entry[-1] for entry in states)


class _Before(NamedTuple):
    """The carry from one chunk to the next.

    Attributes:
      state: the state before its first step.
      doubt: the estimated error of that state due to rounding.
      trusted: whether all chunks so far converged; otherwise nothing is done.
    """

    state: State
    doubt: State
    trusted: Array


class _Chunk(NamedTuple):
    """Steps that are solved together."""

    params: Params
    steps: AllSteps
    linearisation: Linearisation

    def before(self, first: State, states: State) -> State:
        """Returns the states before each step, from the first one and those after each."""
        return tuple(before_each(early, entry, False) for early, entry in zip(first, states, strict=True))

    def step_from(self, before: State) -> State:
        """Returns the states after each step, from those before each."""
        return parallel.advance(self.linearisation.cell, self.params, self.steps, before)

    def correct(self, before: State, missing: State, damping: float) -> State:
        """Solves the recurrence, linearised at the states before each step, for the correction after each."""
        matrices = self.linearisation.matrices(self.params, self.steps, before)
        drives = self.linearisation.to_vectors(self.params, missing)
        zeros = jax.tree.map(lambda v: jnp.zeros_like(v[0]), drives)
        solved = linear.solve(jax.tree.map(lambda m: (1 - damping) * m, matrices), drives, zeros)
        found = self.linearisation.to_state(solved)
        return jax.tree.map(lambda own, direct: jnp.where(jnp.isfinite(own), own, direct), found, missing)


def _solve(chunk: _Chunk, method: Newton, before: _Before, guess: State | None) -> tuple[State, State, Report]:
    """Solves a chunk; returns its states `[time, batch, hidden]`, their estimated errors, a report without states."""
    first, _, trusted = before
    if guess is None:
        guess = tuple(jnp.broadcast_to(entry, (chunk.steps.a.shape[0], *entry.shape)) for entry in first)

    def iterate(carry):
        states, count, _ = carry
        entered = chunk.before(first, states)
        missing = jax.tree.map(jnp.subtract, chunk.step_from(entered), states)
        change = chunk.correct(entered, missing, method.damping)
        return jax.tree.map(jnp.add, states, change), count + 1, _relative(change, states)

    def unsolved(carry):
        _, count, change = carry
        return trusted & (count < method.iterations) & ~(change <= method.tolerance)

    start = vary_alike((guess, jnp.array(0), jnp.array(jnp.inf, first[0].dtype)))
    states, count, change = jax.lax.while_loop(unsolved, iterate, start)
    trusted &= change <= method.tolerance
    doubts, error = _estimate_error(chunk, method, before._replace(trusted=trusted), states)
    converged = trusted & (error <= _TRUST * method.tolerance)
    return states, doubts, Report(converged, count, change, error, ())


def _estimate_error(chunk: _Chunk, method: Newton, before: _Before, states: State) -> tuple[State, Array]:
    """Estimates the errors of the states due to rounding, and the largest one relative to the states.

    A random round-off (plus or minus) is added in every step and propagated by the linearised recurrence. The error is
    infinite if no estimate is found.
    """
    first, doubt, trusted = before
    entered = chunk.before(first, states)
    noise = tuple(_signs(entry) * _round_off(entry) for entry in states)

    def doubts_after(doubts: State) -> State:
        moved = jax.jvp(chunk.step_from, (entered,), (chunk.before(doubt, doubts),))[1]
        return jax.tree.map(jnp.add, moved, noise)

    def doubt_more(carry):
        doubts, tries, _ = carry
        found = chunk.correct(entered, jax.tree.map(jnp.subtract, doubts_after(doubts), doubts), 0.0)
        size = jnp.maximum(_relative(doubts, states), jnp.finfo(first[0].dtype).eps)
        return jax.tree.map(jnp.add, doubts, found), tries + 1, _relative(found, states) / size

    def unsettled(carry):
        doubts, tries, share = carry
        within = _relative(doubts, states) <= _TRUST * method.tolerance
        return trusted & (tries < method.iterations) & ~(share <= _SETTLED) & within

    begin = vary_alike((jax.tree.map(jnp.zeros_like, states), jnp.array(0), jnp.array(jnp.inf, first[0].dtype)))
    doubts, _, share = jax.lax.while_loop(unsettled, doubt_more, begin)
    return doubts, jnp.where(share <= _SETTLED, _relative(doubts, states), jnp.inf)


def _linearisation(cell: Cell, params: Params, method: Newton) -> Linearisation:
    hidden = cell.features(params)
    size = len(cell.state_names) * hidden // cell.heads(hidden)
    small = method.jacobian == "auto" and cell.features(params) // cell.heads(hidden) > 1 and size <= _LARGEST_BLOCK
    return Linearisation(cell, whole=cell.mixes_units or method.jacobian == "full" or small)


def _relative(values: State, states: State) -> Array:
    """Returns the largest of `values`, relative to the larger of 1 and the size of the state."""
    sizes = [jnp.max(jnp.abs(v) / jnp.maximum(1, jnp.abs(s)), initial=0) for v, s in zip(values, states, strict=True)]
    return functools.reduce(jnp.maximum, sizes)


def _round_off(states: Array) -> Array:
    return jnp.finfo(states.dtype).eps * jnp.maximum(1, jnp.abs(states))


def _signs(states: Array) -> Array:
    return jax.random.rademacher(jax.random.key(0), states.shape, states.dtype)
