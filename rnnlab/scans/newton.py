"""A recurrence that is not linear, for all steps at once: Newton's method on the T equations s_t = f(s_{t-1}, x_t).

Each iteration solves the linearised recurrence by an associative scan: DEER (Lim et al. 2024, arXiv 2309.12252); with
the diagonal of the Jacobian only, quasi-DEER, and damped (Gonzalez et al. 2024, arXiv 2407.19115); exact for a diagonal
R (ParaRNN: Danieli et al. 2025, arXiv 2510.21450). Gradients are those at the solution, by one linear recurrence
backwards.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import linear, parallel, sequential
from rnnlab.scans.parallel import Linearisation, Solution, Steps
from rnnlab.scans.plan import Plan, resolve_plan
from rnnlab.scans.product import project
from rnnlab.scans.recurrence import weights_dtype
from rnnlab.scans.select import Where
from rnnlab.scans.sharding import vary_alike

JACOBIANS = ("auto", "full", "diagonal")
_LARGEST_BLOCK = 32  # numbers of the state of a head up to which "auto" takes the full Jacobian
_TRUST = 10  # times the tolerance that the estimated error may be


@dataclasses.dataclass(frozen=True)
class Newton:
    """How the equations are solved.

    Attributes:
      jacobian: "full": a block for each head of R; "diagonal": an S x S block for each unit, S entries of its state;
        "auto": full up to 32 numbers a head, and for cells that mix units, else diagonal. With a diagonal R they are
        the same.
      damping: 0 to 1, by which Jacobians are made smaller: 0 is Newton, 1 a fixed-point iteration. It keeps the scan
        from overflowing where Jacobians grow (the scaled form of ELK's trust region), and makes convergence slower
        where they do not.
      tolerance: of the last change of a state, relative to the larger of 1 and its size; the error that is estimated in
        the end may be ten times that.
      iterations: the most of one chunk.
      chunk: steps that are solved together, chunks one after another; None: all. It divides the number of steps.

    Raises:
      ValueError: a value outside of these.
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
            raise ValueError(f"newton: damping must lie in 0 to 1, not be {self.damping}")
        if not self.tolerance > 0:
            raise ValueError(f"newton: tolerance must be above 0, not {self.tolerance}")
        for field in ("iterations", "chunk"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"newton: {field} must be at least 1, not {value}")


class Report(NamedTuple):
    """How a solution was found.

    Attributes:
      converged: whether the result is that of the iteration; if not, it is that of the sequential scan.
      iterations: the most that a chunk took.
      change: the last change of a state, relative to the larger of 1 and its size.
      error: the distance to the exact recurrence that rounding alone would explain, in the same measure: where it is
        large, neighbouring trajectories part, and no float32 result means anything but its own rounding.
      states: all entries of the state after each step `[time, batch, hidden]`: a first guess for the next time.
    """

    converged: Array
    iterations: Array
    change: Array
    error: Array
    states: State


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def run(
    cell: Cell,
    method: Newton,
    reverse: bool,
    params: Params,
    inputs: Array,
    state: State,
    updates: Where,
    resets: Array | None,
    mask: Array | None,
    guess: State | None = None,
) -> tuple[Array, State, Report]:
    """Returns `h` of every step `[time, batch, hidden]`, the last state and a report.

    Arguments as in `sequential.run`; `guess` is where the iteration starts, None: all states as the first one.
    """
    return _forward(cell, method, reverse, params, inputs, state, updates, resets, mask, guess)[0]


def _forward(cell, method, reverse, params, inputs, state, updates, resets, mask, guess=None):
    def in_order(values):
        return jax.tree.map(lambda v: v[::-1] if reverse else v, values)

    a, time = project(params, inputs), inputs.shape[0]
    steps = (*in_order((a, updates, resets)), in_order(guess))
    size = method.chunk or time
    chunks = jax.tree.map(lambda v: v.reshape(time // size, size, *v.shape[1:]), steps)

    def of_chunk(carry, given):
        first, doubt, trusted = carry
        a_own, updates_own, resets_own, start = given
        own = Steps.over(a_own, updates_own, resets_own, state, mask)
        states, doubts, found = _solve(cell, method, params, own, size, (first, doubt), start, trusted)
        return (_last(states), _last(doubts), found.converged), (states, found)

    start = vary_alike((state, jax.tree.map(jnp.zeros_like, state), jnp.array(True)))
    (_, _, converged), (states, reports) = jax.lax.scan(of_chunk, start, chunks)
    dtype = jnp.result_type(inputs, weights_dtype(params))

    def together() -> Solution:
        return Solution.of_states(state, in_order(jax.tree.map(parallel.as_rows, states)), reverse, dtype)

    def one_by_one() -> Solution:
        plan = resolve_plan(cell, time, inputs.shape[1])
        return Solution(*sequential.every_state(cell, plan, params, (inputs, updates, resets), state, mask, reverse))

    found = jax.lax.cond(converged, together, one_by_one)
    kept = parallel.residuals(cell, params, a, (updates, resets, mask), state, found, reverse)
    after = (
        sequential.after(before, last, reverse) for before, last in zip(found.rest_before, found.final[1:], strict=True)
    )
    iterations, change, error = (value.max() for value in reports[1:4])
    report = Report(converged, iterations, change, error, (found.hidden, *after))
    return (found.hidden, found.final, report), ((params, (inputs, updates, resets), mask, state, (), kept), guess)


def _last(states: State) -> State:
    return tuple(entry[-1] for entry in states)


class _Chunk(NamedTuple):
    """Steps that are solved together."""

    cell: Cell
    params: Params
    steps: Steps
    linearisation: Linearisation
    shape: tuple[int, int]  # time, batch

    def rows_before(self, start: State, states: State) -> State:
        """The states before each step, `[time * batch, hidden]`, of those after it and the first."""
        pairs = zip(start, states, strict=True)
        return tuple(parallel.as_rows(sequential.before(early, entry, False)) for early, entry in pairs)

    def in_time(self, rows: State) -> State:
        """The other way round: `[time, batch, hidden]`."""
        return tuple(entry.reshape(*self.shape, entry.shape[-1]) for entry in rows)

    def step_from(self, rows: State) -> State:
        """The states after each step."""
        return parallel.advance(self.cell, self.params, self.steps, rows)

    def correct(self, rows: State, missing: State, damping: float) -> State:
        """What the recurrence, linearised at `rows`, makes of what is missing after each step."""
        matrices = self.linearisation.matrices(self.params, self.steps, rows, self.shape[0])
        drives = self.linearisation.to_vectors(self.params, missing)
        nothing = jax.tree.map(lambda v: jnp.zeros_like(v[0]), drives)
        solved = linear.solve(jax.tree.map(lambda m: (1 - damping) * m, matrices), drives, nothing)
        found = self.linearisation.to_state(solved)
        return jax.tree.map(lambda own, direct: jnp.where(jnp.isfinite(own), own, direct), found, missing)


def _solve(cell, method, params, steps, time, before, guess, trusted):
    """A chunk: its states `[time, batch, hidden]`, how far they may be off, and a report without states.

    `before` is the state before it, and how far that may be off; where an earlier chunk was not `trusted`, nothing is
    done.
    """
    first, doubt = before
    chunk = _Chunk(cell, params, steps, _linearisation(cell, params, method), (time, first[0].shape[0]))
    if guess is None:
        guess = tuple(jnp.broadcast_to(entry, (chunk.shape[0], *entry.shape)) for entry in first)

    def iterate(carry):
        states, count, _ = carry
        rows = chunk.rows_before(first, states)
        missing = jax.tree.map(jnp.subtract, chunk.in_time(chunk.step_from(rows)), states)
        change = chunk.correct(rows, missing, method.damping)
        return jax.tree.map(jnp.add, states, change), count + 1, _relative(change, states)

    def goes_on(carry):
        _, count, change = carry
        return trusted & (count < method.iterations) & ~(change <= method.tolerance)

    start = vary_alike((guess, jnp.array(0), jnp.array(jnp.inf, first[0].dtype)))
    states, count, change = jax.lax.while_loop(goes_on, iterate, start)
    trusted &= change <= method.tolerance
    doubts, error = _estimate_error(chunk, method, first, states, doubt, trusted)
    converged = trusted & (error <= _TRUST * method.tolerance)
    return states, doubts, Report(converged, count, change, error, ())


def _estimate_error(chunk: _Chunk, method: Newton, first: State, states: State, doubt: State, trusted: Array):
    """How far rounding puts the states off: a round-off of random sign in every step, carried on by the linearised
    recurrence; and the largest of it, relative to the states, infinite where that is not found."""
    rows = chunk.rows_before(first, states)
    noise = tuple(_signs(entry) * _round_off(entry) for entry in states)

    def doubts_after(doubts: State) -> State:
        moved = jax.jvp(chunk.step_from, (rows,), (chunk.rows_before(doubt, doubts),))[1]
        return jax.tree.map(jnp.add, chunk.in_time(moved), noise)

    def doubt_more(carry):
        doubts, tries, _ = carry
        found = chunk.correct(rows, jax.tree.map(jnp.subtract, doubts_after(doubts), doubts), 0.0)
        size = jnp.maximum(_relative(doubts, states), jnp.finfo(first[0].dtype).eps)
        return jax.tree.map(jnp.add, doubts, found), tries + 1, _relative(found, states) / size

    def goes_on(carry):
        doubts, tries, share = carry
        within = _relative(doubts, states) <= _TRUST * method.tolerance
        return trusted & (tries < method.iterations) & ~(share <= 0.1) & within

    begin = vary_alike((jax.tree.map(jnp.zeros_like, states), jnp.array(0), jnp.array(jnp.inf, first[0].dtype)))
    doubts, _, share = jax.lax.while_loop(goes_on, doubt_more, begin)
    return doubts, jnp.where(share <= 0.1, _relative(doubts, states), jnp.inf)


def _linearisation(cell: Cell, params: Params, method: Newton) -> Linearisation:
    hidden = cell.features(params)
    size = len(cell.state_names) * hidden // cell.heads(hidden)
    small = method.jacobian == "auto" and cell.features(params) // cell.heads(hidden) > 1 and size <= _LARGEST_BLOCK
    return Linearisation(cell, whole=cell.mixes_units or method.jacobian == "full" or small)


def _relative(values: State, states: State) -> Array:
    """The largest of `values`, relative to the larger of 1 and the size of the state."""
    sizes = [jnp.max(jnp.abs(v) / jnp.maximum(1, jnp.abs(s)), initial=0) for v, s in zip(values, states, strict=True)]
    return functools.reduce(jnp.maximum, sizes)


def _round_off(states: Array) -> Array:
    return jnp.finfo(states.dtype).eps * jnp.maximum(1, jnp.abs(states))


def _signs(states: Array) -> Array:
    return jax.random.rademacher(jax.random.key(0), states.shape, states.dtype)


def _backward(cell, method, reverse, residuals, cotangents):
    kept, guess = residuals
    linearisation = _linearisation(cell, kept[0], method)
    time = cotangents[0].shape[0]
    pull = functools.partial(parallel.pull_steps, linearisation, None) if linearisation.exact else None
    plan = Plan(method.chunk or time, project="block")
    d_guess = None if guess is None else jax.tree.map(jnp.zeros_like, guess)
    return *sequential.backward(cell, plan, reverse, kept, cotangents[:2], pull), d_guess


run.defvjp(_forward, _backward)
