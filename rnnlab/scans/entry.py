"""`scan` and `newton_scan`: run a cell over a batch of sequences, by a chosen method."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import associative, kernels, newton, reference, sequential
from rnnlab.scans.arguments import Arguments, check_arguments, own_params
from rnnlab.scans.associative import Associative
from rnnlab.scans.eager import is_eager
from rnnlab.scans.kernels import Pallas
from rnnlab.scans.machine import platform_in_use
from rnnlab.scans.newton import Newton, Report
from rnnlab.scans.plan import Plan, checkpoint_plan, resolve_plan
from rnnlab.scans.product import are_ids, at_least_float32, poison
from rnnlab.scans.recurrence import weights_dtype
from rnnlab.scans.reverse_mode import refuse_forward_mode
from rnnlab.scans.select import Where
from rnnlab.scans.sequences import Sequences, Steps
from rnnlab.scans.sharding import over_explicit_axes, vary_alike
from rnnlab.scans.time_steps import take_time_steps

Method = Plan | Associative | Newton | Pallas
_NEWTON = Newton()
METHODS = ("sequential", "reference", "associative", "newton", "pallas")


def scan(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"] | Int[Array, "time batch"],
    *,
    state: tuple[Float[Array, "batch hidden"], ...] | None = None,
    seq_lengths: Int[Array | np.ndarray, "batch"] | None = None,
    reverse: bool = False,
    segment_starts: Bool[Array | np.ndarray, "time batch"] | None = None,
    dt: Float[Array | np.ndarray, "time batch"] | None = None,
    recurrent_mask: Float[Array, "batch hidden"] | None = None,
    zoneout_mask: tuple[Bool[Array, "time batch hidden"], ...] | None = None,
    method: str | Method = "auto",
    checkpoint_every: int | str | None = None,
) -> tuple[Float[Array, "time batch hidden"], tuple[Float[Array, "batch hidden"], ...]]:
    """Runs a cell over time.

    Main arguments:
      cell: a description from `CELLS`, or your own.
      params: what `cell.init(...)` returns, or any mapping with these names; other names are ignored.
      inputs: `[time, batch, features]`; time may be 0. Or ids `[time, batch]`, integers from 0 to features - 1, which
        represent one-hot vectors: a step then reads a row of `W` instead of a product. An id outside this range makes
        all results NaN, or (with `Plan.joined`, the default on a GPU) those of its sequence.
      state: the state before the first step, entries `[batch, hidden]`; None: `cell.initial_state`.
      seq_lengths: `[batch]`, the number of steps of each sequence, 0 to time. Traced values (under `jax.jit`) are not
        checked but clipped to that range. A step past the end keeps the state, and its output is zero; the contents of
        the padding, NaN included, change neither values nor gradients.
      reverse: run from the last step of each sequence (with seq_lengths its own last step) to the first. The outputs
        stay in the order of the inputs.

    Other arguments:
      segment_starts: `[time, batch]`, True where a new sequence starts within a row: neither values nor gradients pass
        between that step and the step before it. Each of these sequences starts from `state`, like the first one, so do
        not combine this with a state carried over from earlier steps.
      dt: `[time, batch]`, for a cell in continuous time (`Cell.continuous`: "s5", "lru"): the time since the step
        before, in units of the cell's own step; None: 1 at every step. "s5" holds the input of a step over that time;
        "lru" scales it so that the state keeps its variance. A negative time counts as 0, over which no state changes.
        With `reverse` the time between a step and the next one is used, and for the last step of a sequence the time
        of its first. Ids are then read as one-hot vectors, by a product.
      recurrent_mask: `[batch, hidden]`, multiplies `h` where it enters `h R`, the same at every step (variational
        dropout: Gal and Ghahramani 2016, arXiv 1512.05287).
      zoneout_mask: `[time, batch, hidden]` for each entry of the state, True where a unit keeps its value at a step
        (zoneout: Krueger et al. 2017, arXiv 1606.01305). Entries that form one number (`Cell.together`) use the mask of
        the first of them.
      method: "auto" (chosen by `resolve_method`), "sequential" (one loop, weight gradients after it), "reference"
        (plain, differentiated by jax), "associative" (parallel in time, for linear cells), "newton" (parallel in time
        by iteration, for every cell; `newton_scan` also reports how it converged), "pallas" (one fused kernel for each
        pass, for cells whose `combine` is pointwise; on a CPU interpreted, which is slow), or a `Plan`, `Associative`,
        `Newton` or `Pallas` with your own settings.
      checkpoint_every: store only every n-th state ("sqrt": n is the square root of time) and recompute the rest in the
        backward pass. Takes less memory and more time; the gradients are the same.

    Outside `jax.jit` and `jax.vmap`, a scan and its gradient are compiled once for a cell, its settings and shapes, and
    kept until `jax.clear_caches()`.

    Products are computed in the dtype of the weights. Where that is narrower than float32 (bfloat16), state, sums and
    what `combine` computes are float32. Every method can be mapped by `jax.vmap`; "newton" then iterates until the
    slowest member has converged, and always computes the sequential scan that it falls back to, too.

    Returns:
      `h` of every step `[time, batch, hidden]` in the dtype of inputs and weights, and the state after the last step of
      each sequence, in the dtype of `state` (None: float32 or wider).

    Raises:
      ValueError: shapes that do not fit each other; a `dt` for a cell that is not in continuous time; lengths outside
        0 to time; an unknown method, or one that the cell does not have; a block (`Plan`) or chunk (`Newton`) that does
        not divide the time; a `checkpoint_every` that is neither "sqrt" nor at least 1, or is used with another method
        than "sequential"; a missing parameter; a `recurrent_mask` for a cell whose `combine` multiplies with `R`; a
        cell, a size or a dtype that a kernel ("pallas") cannot take on the device.
      TypeError: forward-mode differentiation by another method than "reference".
    """
    given = Arguments(
        own_params(cell, params), inputs, state, seq_lengths, segment_starts, recurrent_mask, zoneout_mask
    )
    if dt is not None:
        cell, given = take_time_steps(cell, given, dt, reverse=reverse)
    chosen = _resolve(cell, method, checkpoint_every, *inputs.shape[:2])
    return _scan(cell, chosen, reverse, given)[:2]


def newton_scan(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"] | Int[Array, "time batch"],
    *,
    newton: Newton = _NEWTON,
    guess: tuple[Float[Array, "time batch hidden"], ...] | None = None,
    state: tuple[Float[Array, "batch hidden"], ...] | None = None,
    seq_lengths: Int[Array | np.ndarray, "batch"] | None = None,
    reverse: bool = False,
    segment_starts: Bool[Array | np.ndarray, "time batch"] | None = None,
    dt: Float[Array | np.ndarray, "time batch"] | None = None,
    recurrent_mask: Float[Array, "batch hidden"] | None = None,
    zoneout_mask: tuple[Bool[Array, "time batch hidden"], ...] | None = None,
) -> tuple[Float[Array, "time batch hidden"], tuple[Float[Array, "batch hidden"], ...], Report]:
    """Runs `scan` by Newton's method and reports how the solution was found.

    If the iteration does not converge, the outputs are those of a sequential scan, and `Report.converged` is False.
    No gradient passes through the report or the guess.

    Main arguments:
      cell, params, inputs: as in `scan`.
      newton: the settings of the solver.
      guess: the states after each step from which the iteration starts, entries `[time, batch, hidden]`, such as
        `report.states` of the same sequences one training step ago; None: the initial state at every step.

    Other arguments:
      state, seq_lengths, reverse, segment_starts, dt, recurrent_mask, zoneout_mask: as in `scan`.

    Returns:
      Outputs and last state, as from `scan`, and a `Report`.

    Raises:
      ValueError: as in `scan`, or a guess whose shapes do not fit.
    """
    time, batch = inputs.shape[:2]
    wanted = [(time, batch, cell.features(params))] * len(cell.state_names)
    if guess is not None and [entry.shape for entry in guess] != wanted:
        raise ValueError(f"guess must be arrays of shapes {wanted}, not {[entry.shape for entry in guess]}")
    given = Arguments(
        own_params(cell, params), inputs, state, seq_lengths, segment_starts, recurrent_mask, zoneout_mask, guess
    )
    if dt is not None:
        cell, given = take_time_steps(cell, given, dt, reverse=reverse)
    chosen = _resolve(cell, newton, None, time, batch)
    if not time:
        nothing = tuple(jnp.zeros(shape) for shape in wanted)
        empty = Report(jnp.array(True), jnp.array(0), jnp.array(0.0), jnp.array(0.0), nothing)
        return *_scan(cell, None, reverse, given._replace(guess=None))[:2], empty
    outputs, final, report = _scan(cell, chosen, reverse, given)
    return outputs, final, jax.lax.stop_gradient(report)


def resolve_method(cell: Cell, time: int, batch: int, *, device: str | None = None) -> Method:
    """Returns the fastest method measured for a cell; `docs/parallel.md` has the table.

    On a CPU that is the sequential loop for every cell: a step of it costs less than its share of a scan that is
    parallel in time. On an accelerator, where nothing has been measured, a linear recurrence is solved by an
    associative scan. Newton's method is never chosen.

    Args:
      cell: the cell to run.
      time, batch: steps and sequences.
      device: "cpu", "gpu" or "tpu"; None: the platform that the program is made for (`program_for`).
    """
    if "associative" in methods_of(cell) and (device or platform_in_use()) != "cpu":
        return Associative()
    return resolve_plan(cell, time, batch, device=device)


def methods_of(cell: Cell) -> tuple[str, ...]:
    """Returns the methods that can run a cell.

    "associative" is for linear cells only, "pallas" for those whose `combine` is pointwise.
    """
    possible = {"associative": cell.is_linear and not cell.mixes_units, "pallas": kernels.is_pointwise(cell)}
    return tuple(name for name in METHODS if possible.get(name, True))


def _scan(cell: Cell, method: Method | None, reverse: bool, given: Arguments) -> tuple[Array, State, Any]:
    """Returns outputs, last state, and the report of Newton's method (else None); `method` None is the reference."""
    check_arguments(cell, given)
    lengths, starts = (None if own is None else jnp.asarray(own) for own in (given.seq_lengths, given.segment_starts))
    given = given._replace(seq_lengths=lengths, segment_starts=starts)
    settings = cell, method, reverse
    run = functools.partial(_COMPILED if is_eager(settings) else _scan_arrays, *settings)
    return over_explicit_axes(run, (given,), _layout(cell, method, given.inputs, given.state))


def _layout(cell: Cell, method: Method | None, inputs: Array, state: State | None) -> tuple:
    """Returns the layout of results over explicit mesh axes: outputs like inputs, the last state like the first."""
    steps = PartitionSpec(*jax.typeof(inputs).sharding.spec[:2], None)
    rows = [PartitionSpec(steps[1], None)] * len(cell.state_names)
    final = tuple(rows if state is None else (jax.typeof(entry).sharding.spec for entry in state))
    report = Report._make([*[PartitionSpec()] * 4, (steps,) * len(final)]) if isinstance(method, Newton) else None
    return steps, final, report


def _scan_arrays(
    cell: Cell, method: Method | None, reverse: bool, given: Arguments
) -> tuple[Array, State, Report | None]:
    params, inputs, state = given.params, given.inputs, given.state
    time, batch = inputs.shape[:2]
    wide = at_least_float32(jnp.result_type(inputs, weights_dtype(params), *(state or ())))
    if state is None:
        state = cell.initial_state(batch, cell.features(params), wide)
    params = params | {name: params[name].astype(wide) for name in cell.unit_params}
    block = method.block if isinstance(method, Plan) else 1
    steps, valid = _steps(cell, block, reverse, given)
    by_row = isinstance(method, Plan) and method.joined and method.project == "block"
    if are_ids(inputs) and not by_row:
        params = poison(params, steps.inputs)
    mask = None if cell.recurrence == "none" else given.recurrent_mask
    initial, mask, guess = jax.tree.map(lambda v: v.astype(wide), (tuple(state), mask, given.guess))
    sequences = Sequences(steps, initial, mask, reverse)
    outputs, final, report = _run(cell, method, *vary_alike((params, sequences, guess)))
    outputs = outputs if valid is None else jnp.where(valid[..., None], outputs, 0)[:time]
    return outputs, tuple(new.astype(old.dtype) for new, old in zip(final, state, strict=True)), report


_COMPILED = jax.jit(_scan_arrays, static_argnums=(0, 1, 2))


def _steps(cell: Cell, block: int, reverse: bool, given: Arguments) -> tuple[Steps, Array | None]:
    """Returns the steps, padded to whole blocks, and a mask `[time, batch]` of those in a sequence (None: all)."""
    time, batch = given.inputs.shape[:2]
    padding = -(-time // block) * block - time
    inputs, valid = _pad(given.inputs, padding), None
    if given.seq_lengths is not None or padding:
        lengths = jnp.full(batch, time) if given.seq_lengths is None else given.seq_lengths
        valid = _within(time, time + padding, lengths)
        inputs = jnp.where(valid if are_ids(inputs) else valid[..., None], inputs, 0)
    starts = given.segment_starts
    if starts is not None:
        starts = _pad(starts.astype(bool), padding)
        starts = starts if valid is None else starts & valid
        if reverse:  # a sequence that starts at step t ends, run backwards, before step t - 1
            starts = jnp.concatenate([starts[1:], jnp.zeros_like(starts[:1])])
    updates: Where = valid
    if given.zoneout_mask is not None:
        moves = (~_pad(given.zoneout_mask[mask].astype(bool), padding) for mask in cell.masks)
        updates = tuple(own if valid is None else own & valid[..., None] for own in moves)
    return Steps(inputs, updates, starts), valid


def _pad(steps: Array, padding: int) -> Array:
    return jnp.pad(steps, [(0, padding)] + [(0, 0)] * (steps.ndim - 1))


def _within(time: int, steps: int, lengths: Array) -> Array:
    """Returns `[steps, batch]`, True within a sequence; lengths are clipped to the time."""
    at = jnp.arange(steps)[:, None]
    return at < lengths if steps == time else (at < lengths) & (at < time)


def _run(
    cell: Cell, method: Method | None, params: Params, given: Sequences, guess: State | None
) -> tuple[Array, State, Report | None]:
    if method is None:
        return *reference.run(cell, params, given), None
    params, given, guess = refuse_forward_mode((params, given, guess))
    if isinstance(method, Newton):
        return newton.run(cell, method, params, given, guess)
    if isinstance(method, Associative):
        return *associative.run(cell, method, params, given), None
    if isinstance(method, Pallas):
        return *kernels.run(cell, method, params, given), None
    return *sequential.run(cell, method, params, given), None


def _resolve(
    cell: Cell, method: str | Method, checkpoint_every: int | str | None, time: int, batch: int
) -> Method | None:
    """Returns the settings of the method to use; None: the reference, also over no steps, and no rows of a kernel."""
    if isinstance(method, str) and method not in ("auto", *METHODS):
        raise ValueError(
            f"unknown method {method!r}; allowed: auto, {', '.join(METHODS)}, or a Plan, Associative, Newton or Pallas"
        )
    if checkpoint_every is not None:
        if method not in ("auto", "sequential"):
            raise ValueError(f"checkpoint_every requires method 'auto' or 'sequential', not {method!r}")
        chosen: Method = checkpoint_plan(cell, time, batch, checkpoint_every)
    elif isinstance(method, str):
        named: dict[str, Method] = {
            "associative": Associative(),
            "newton": _NEWTON,
            "pallas": Pallas(),
            "sequential": resolve_plan(cell, time, batch),
        }
        chosen = named.get(method) or resolve_method(cell, time, batch)
    else:
        chosen = method
    _check_method(cell, chosen, time)
    empty = time == 0 or (batch == 0 and isinstance(chosen, Pallas))
    return None if method == "reference" or empty else chosen


def _check_method(cell: Cell, method: Method, time: int) -> None:
    if isinstance(method, Pallas):
        return
    if isinstance(method, Associative):
        if "associative" not in methods_of(cell):
            raise ValueError(
                f"method 'associative' needs a cell whose step is affine in the state, without R; {cell.name!r} is not"
            )
        return
    field = "chunk" if isinstance(method, Newton) else "block"
    size = getattr(method, field)
    if size and time % size and not getattr(method, "recompute", False):
        raise ValueError(f"method: {field} {size} does not divide the time {time}")
