"""`scan`: a cell over a batch of sequences, by whichever method suits."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import associative, newton, reference, sequential
from rnnlab.scans.associative import Associative
from rnnlab.scans.newton import Newton, Report
from rnnlab.scans.plan import Plan, checkpoint_plan, is_known, resolve_plan
from rnnlab.scans.product import are_ids, at_least_float32, poison
from rnnlab.scans.recurrence import weights_dtype
from rnnlab.scans.reverse_mode import refuse_forward_mode
from rnnlab.scans.select import Where
from rnnlab.scans.sharding import over_explicit_axes, vary_alike

Method = Plan | Associative | Newton
_NEWTON = Newton()
METHODS = ("sequential", "reference", "associative", "newton")


def scan(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"] | Int[Array, "time batch"],
    *,
    state: tuple[Float[Array, "batch hidden"], ...] | None = None,
    seq_lengths: Int[Array | np.ndarray, "batch"] | None = None,
    reverse: bool = False,
    resets: Bool[Array | np.ndarray, "time batch"] | None = None,
    recurrent_mask: Float[Array, "batch hidden"] | None = None,
    kept: tuple[Bool[Array, "time batch hidden"], ...] | None = None,
    method: str | Method = "auto",
    checkpoint_every: int | str | None = None,
) -> tuple[Float[Array, "time batch hidden"], tuple[Float[Array, "batch hidden"], ...]]:
    """Runs a cell over time.

    Args:
      cell: a description out of `CELLS`, or one of your own.
      params: `cell.init(...)`, or a mapping of the same names to values of your own; other names are not read.
      inputs: `[time, batch, features]`; time may be 0. Or ids `[time, batch]`, integers from 0 to features - 1, each in
        place of a one-hot vector: a step then reads a row of `W` instead of multiplying with it. An id outside
        makes all results NaN.
      state: the state before the first step, each entry `[batch, hidden]`; None is `cell.initial_state`.
      seq_lengths: `[batch]`, steps in each sequence, 0 to time; traced ones (under `jax.jit`) are clipped to that. A
        step past the end keeps the state and its output is zero; what stands in the padding, NaN too, changes neither
        values nor gradients.
      reverse: from the last step of each sequence (its own last one, given seq_lengths) to the first; the outputs stay
        in the order of the inputs.
      resets: `[time, batch]`, True where a new sequence starts within a row: nothing passes between that step and the
        one before it, in either direction. The new sequence starts from `state`, as the first one does: a state
        carried over from earlier steps is not for rows of several sequences.
      recurrent_mask: `[batch, hidden]`, on `h` where it enters `h R`, the same at every step (variational dropout: Gal
        and Ghahramani 2016, arXiv 1512.05287).
      kept: `[time, batch, hidden]` for each entry of the state, True where a unit keeps its value at a step (zoneout:
        Krueger et al. 2017, arXiv 1606.01305). Entries that are one number (`Cell.together`) follow the first of them.
      method: "sequential" (one loop, weight gradients after it), "reference" (plain, differentiated by jax),
        "associative" (all steps at once: linear cells), "newton" (all steps at once, by iteration: every cell;
        `newton_scan` also tells how that went), "auto" (as `resolve_method` says), or a `Plan`, `Associative` or
        `Newton` of your own.
      checkpoint_every: keep the state of every so many steps only ("sqrt": the square root of time) and recompute the
        rest in the backward pass: memory for time, the gradients the same.

    Products are done in the dtype of the weights; state and sums are float32 where that is narrower (bfloat16).

    Returns:
      `h` of every step `[time, batch, hidden]` in the dtype of inputs and weights, and the state after the last step of
      each sequence, in the dtype of `state` (None: float32 or better).

    Raises:
      ValueError: shapes that do not fit each other, lengths outside 0 to time, an unknown method, or one that is not
        for this cell, a plan's block or a chunk that does not divide the time, a `checkpoint_every` that is none or
        goes with another method than "sequential", a parameter that is missing, or a `recurrent_mask` for a cell that
        multiplies with `R` itself.
      TypeError: forward-mode differentiation of another method than "reference".
    """
    chosen = _resolve(cell, method, checkpoint_every, *inputs.shape[:2])
    given = (state, seq_lengths, reverse, resets, recurrent_mask, kept)
    return _scan(cell, params, inputs, given, chosen, None)[:2]


def resolve_method(cell: Cell, time: int, batch: int, *, device: str | None = None) -> Method:
    """The fastest method measured for a cell; `docs/parallel.md` has the table.

    On a CPU that is one loop for every cell: a step of its own costs less than what all steps at once do in its place.
    On an accelerator, where nothing was measured, a linear recurrence is solved for all steps at once; Newton's method
    is never chosen.
    """
    if "associative" in methods_of(cell) and (device or jax.default_backend()) != "cpu":
        return Associative()
    return resolve_plan(cell, time, batch, device=device)


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
    resets: Bool[Array | np.ndarray, "time batch"] | None = None,
    recurrent_mask: Float[Array, "batch hidden"] | None = None,
    kept: tuple[Bool[Array, "time batch hidden"], ...] | None = None,
) -> tuple[Float[Array, "time batch hidden"], tuple[Float[Array, "batch hidden"], ...], Report]:
    """`scan` by Newton's method, with a report of how the solution was found.

    Where it did not converge, the outputs are those of a sequential scan, and the report says so. No gradient passes
    through the report.

    Args:
      newton: how to solve.
      guess: the states after each step to start from, entries `[time, batch, hidden]`, such as `report.states` of the
        same sequences a training step ago; None: the first state everywhere.
      cell, params, inputs, ...: as in `scan`.

    Returns:
      Outputs and last state, as `scan` does, and a `Report`.

    Raises:
      ValueError: as in `scan`, or a guess of other shapes.
    """
    time, batch = inputs.shape[:2]
    wanted = [(time, batch, cell.features(params))] * len(cell.state_names)
    if guess is not None and [entry.shape for entry in guess] != wanted:
        raise ValueError(f"guess must be arrays of shapes {wanted}, not {[entry.shape for entry in guess]}")
    chosen = _resolve(cell, newton, None, time, batch)
    given = (state, seq_lengths, reverse, resets, recurrent_mask, kept)
    if not time:
        nothing = tuple(jnp.zeros(shape) for shape in wanted)
        empty = Report(jnp.array(True), jnp.array(0), jnp.array(0.0), jnp.array(0.0), nothing)
        return *_scan(cell, params, inputs, given, None, None)[:2], empty
    outputs, final, report = _scan(cell, params, inputs, given, chosen, guess)
    return outputs, final, jax.lax.stop_gradient(report)


def _scan(cell: Cell, params: Params, inputs: Array, given: tuple, method: Method | None, guess: State | None):
    """Outputs, last state, and the report of Newton's method (else None); `method` None is the reference."""
    state, seq_lengths, reverse, resets, recurrent_mask, kept = given
    params = _own_params(cell, params)
    _check(cell, params, inputs, state, seq_lengths, resets)
    _check_noise(cell, params, inputs, recurrent_mask, kept)
    seq_lengths, resets = (None if own is None else jnp.asarray(own) for own in (seq_lengths, resets))
    arrays = (params, inputs, state, seq_lengths, resets, recurrent_mask, kept, guess)
    run = functools.partial(_scan_arrays, cell, method, reverse)
    return over_explicit_axes(run, arrays, _layout(cell, method, inputs, state))


def _layout(cell: Cell, method: Method | None, inputs: Array, state: State | None) -> tuple:
    """How results are laid out over explicit axes of a mesh: steps and rows as inputs, the last state as the first."""
    steps = PartitionSpec(*jax.typeof(inputs).sharding.spec[:2], None)
    fresh = [PartitionSpec(steps[1], None)] * len(cell.state_names)
    final = tuple(fresh if state is None else (jax.typeof(entry).sharding.spec for entry in state))
    report = Report._make([*[PartitionSpec()] * 4, (steps,) * len(final)]) if isinstance(method, Newton) else None
    return steps, final, report


def _scan_arrays(cell, method, reverse, params, inputs, state, seq_lengths, resets, recurrent_mask, kept, guess):
    time, batch = inputs.shape[:2]
    wide = at_least_float32(jnp.result_type(inputs, weights_dtype(params), *(state or ())))
    if state is None:
        state = cell.initial_state(batch, cell.features(params), wide)
    block = method.block if isinstance(method, Plan) else 1
    padding = -(-time // block) * block - time
    inputs, valid = _pad(inputs, padding), None
    if seq_lengths is not None or padding:
        valid = _within(time, time + padding, jnp.full(batch, time) if seq_lengths is None else seq_lengths)
        inputs = jnp.where(valid if are_ids(inputs) else valid[..., None], inputs, 0)
    if resets is not None:
        resets = _pad(resets.astype(bool), padding)
        resets = resets if valid is None else resets & valid
        if reverse:  # a sequence that starts at step t ends, run backwards, before step t - 1
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    updates: Where = valid
    if kept is not None:
        moves = (~_pad(kept[mask].astype(bool), padding) for mask in cell.masks)
        updates = tuple(own if valid is None else own & valid[..., None] for own in moves)
    if are_ids(inputs):
        params = poison(params, inputs)
    mask = None if recurrent_mask is None or cell.recurrence == "none" else recurrent_mask.astype(wide)
    widened, guess = jax.tree.map(lambda v: v.astype(wide), (tuple(state), guess))
    arguments = (params, inputs, widened, updates, resets, mask, *(() if guess is None else (guess,)))
    outputs, final, *report = _run(cell, method, reverse, vary_alike(arguments))
    outputs = outputs if valid is None else jnp.where(valid[..., None], outputs, 0)[:time]
    final = tuple(new.astype(old.dtype) for new, old in zip(final, state, strict=True))
    return outputs, final, report[0] if report else None


def _within(time: int, steps: int, lengths: Array) -> Array:
    """`[steps, batch]`, True within a sequence; a length above the time is the time."""
    at = jnp.arange(steps)[:, None]
    return at < lengths if steps == time else (at < lengths) & (at < time)


def _run(cell: Cell, method: Method | None, reverse: bool, arguments: tuple) -> tuple:
    if method is None:
        return reference.run(cell, reverse, *arguments)
    module = newton if isinstance(method, Newton) else associative if isinstance(method, Associative) else sequential
    return module.run(cell, method, reverse, *refuse_forward_mode(arguments))


def _resolve(
    cell: Cell, method: str | Method, checkpoint_every: int | str | None, time: int, batch: int
) -> Method | None:
    """What carries the scan out; None is the reference, which is as good as any over no steps."""
    if isinstance(method, str) and method not in ("auto", *METHODS):
        raise ValueError(
            f"unknown method {method!r}; allowed: auto, {', '.join(METHODS)}, or a Plan, Associative or Newton"
        )
    if checkpoint_every is not None:
        if method not in ("auto", "sequential"):
            raise ValueError(f"checkpoint_every goes with method 'auto' or 'sequential', not {method!r}")
        chosen: Method = checkpoint_plan(cell, time, batch, checkpoint_every)
    elif isinstance(method, str):
        named: dict[str, Method] = {
            "associative": Associative(),
            "newton": _NEWTON,
            "sequential": resolve_plan(cell, time, batch),
        }
        chosen = named.get(method) or resolve_method(cell, time, batch)
    else:
        chosen = method
    _check_method(cell, chosen, time)
    return None if method == "reference" or time == 0 else chosen


def methods_of(cell: Cell) -> tuple[str, ...]:
    """The methods that a cell can be run by: "associative" is for linear ones."""
    return tuple(name for name in METHODS if name != "associative" or (cell.is_linear and not cell.mixes_units))


def _check_method(cell: Cell, method: Method, time: int) -> None:
    if isinstance(method, Associative):
        if "associative" not in methods_of(cell):
            raise ValueError(
                f"method 'associative' is for cells whose step is affine in the state, without R; {cell.name!r} is none"
            )
        return
    field = "chunk" if isinstance(method, Newton) else "block"
    size = getattr(method, field)
    if size and time % size and not getattr(method, "recompute", False):
        raise ValueError(f"method: {field} {size} does not divide the time {time}")


def _own_params(cell: Cell, params: Mapping[str, Array]) -> Params:
    """What the cell reads of a mapping, as a dict."""
    names = dict.fromkeys(("W", "b", *(() if cell.recurrence == "none" else ("R",)), *cell.combine_params))
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"params of cell {cell.name!r} must have {', '.join(names)}, but have no {', '.join(missing)}")
    return {name: params[name] for name in names}


def _pad(steps: Array, padding: int) -> Array:
    return jnp.pad(steps, [(0, padding)] + [(0, 0)] * (steps.ndim - 1))


def _check_noise(cell, params, inputs, recurrent_mask, kept):
    units = (inputs.shape[1], cell.features(params))
    if recurrent_mask is not None and "R" in cell.reads:
        raise ValueError(
            f"recurrent_mask: cell {cell.name!r} multiplies with R inside its combine, out of a mask's reach"
        )
    if recurrent_mask is not None and recurrent_mask.shape != units:
        raise ValueError(f"recurrent_mask must be [batch, hidden] = {units}, not of shape {recurrent_mask.shape}")
    wanted = [(inputs.shape[0], *units)] * len(cell.state_names)
    if kept is not None and [own.shape for own in kept] != wanted:
        raise ValueError(f"kept must be arrays of shapes {wanted}, not {[own.shape for own in kept]}")


def _check(cell, params, inputs, state, seq_lengths, resets):
    if inputs.ndim != (2 if are_ids(inputs) else 3):
        raise ValueError(
            f"inputs must be [time, batch, features], or integers [time, batch], not {inputs.dtype} of shape "
            f"{inputs.shape}"
        )
    time, batch, *features = inputs.shape
    if features and params["W"].shape[0] != features[0]:
        raise ValueError(
            f"inputs have {features[0]} features, but W of cell {cell.name!r} takes {params['W'].shape[0]}"
        )
    if state is not None:
        wanted = (batch, cell.features(params))
        if len(state) != len(cell.state_names) or any(entry.shape != wanted for entry in state):
            raise ValueError(
                f"state of cell {cell.name!r} must be {len(cell.state_names)} arrays ({', '.join(cell.state_names)}) "
                f"of shape {wanted}, not {[entry.shape for entry in state]}"
            )
    if resets is not None and np.shape(resets) != (time, batch):
        raise ValueError(f"resets must be [time, batch] = {(time, batch)}, not of shape {np.shape(resets)}")
    if seq_lengths is None:
        return
    if np.shape(seq_lengths) != (batch,):
        raise ValueError(f"seq_lengths must be [batch] = {(batch,)}, not of shape {np.shape(seq_lengths)}")
    if not isinstance(seq_lengths, jax.core.Tracer):
        most = time if is_known(time) else np.inf  # beyond a symbolic time they are clipped
        outside = [int(n) for n in np.asarray(seq_lengths) if not 0 <= n <= most]
        if outside:
            raise ValueError(
                f"seq_lengths must lie in 0 to {time} (the time of inputs), but {outside[0]} is among them"
            )
