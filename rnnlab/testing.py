"""The conformance tests for cells, the registered ones and your own.

    from rnnlab.testing import check_cell
    check_cell(my_cell)

Imports cells and scan only.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import Associative, methods_of, scan, step_jacobian
from rnnlab.scans.recurrence import recur

_TIME, _BATCH, _IN, _HIDDEN = 7, 4, 3, 6
_LENGTHS = (7, 3, 0, 1)
_FLOAT32, _FLOAT64 = 1e-5, 1e-6
_SATURATION, _SATURATED_DRIFT = 100.0, 0.01  # where float32 has but few digits of a derivative
_SATURATED_STEPS = (7 * (0,), 7 * (1,), (0, 1, 0, 1, 2, 0, 1), (0, 2, 2, 1, 2, 2, 0))  # rows of W: -100, 100, as drawn
_EVERYTHING = "every gate and parameter"
_BFLOAT16_DRIFT = 0.05  # relative, about 6 times the unit round-off 2^-8 of one operation


def check_cell(cell: Cell, *, seed: int = 0) -> None:
    """Checks that a cell keeps every promise of `scan`.

    The description fits its parameters; padded = unpadded (also with NaN in the padding); chunked = whole; reversed =
    flipped; segments = separate sequences; lengths 0 and 1; `step_jacobian` = `jax.jacfwd`; every method = the
    reference, values and gradients; gradients = finite differences; bfloat16 within 5 % of float32. With one gate or
    one of `unit_params` at +-100, values and gradients of every method are finite and within 1 % of float64; with all
    of them at +-100 they are finite.

    Raises:
      AssertionError: a broken promise; the message names the cell, the promise and the largest difference.
    """
    for name, promise in _PROMISES.items():
        try:
            promise(_near, cell, *_example(cell, seed))
        except AssertionError as error:
            raise AssertionError(f"cell {cell.name!r}: {name}: {error}") from None


class Finding(NamedTuple):
    """How well a cell keeps a promise.

    Attributes:
      promise: one of `PROMISES`.
      excess: the largest difference, divided by the allowed one: above 1 the promise is broken. Infinite if it is
        broken in another way.
      what: what differs and by how much, or how else the promise is broken; empty if nothing differs.
    """

    promise: str
    excess: float
    what: str


def measure_promise(cell: Cell, promise: str, *, seed: int = 0) -> Finding:
    """Measures how well a cell keeps one of `PROMISES`, for devices whose products are less exact than float32.

    Raises:
      KeyError: an unknown promise.
    """
    worst = Finding(promise, 0.0, "")

    def near(actual, expected, tolerance: float = _FLOAT32, what: str = "") -> None:
        nonlocal worst
        for gap, allowed in _gaps(actual, expected, tolerance):
            if (excess := _excess(gap, allowed)) > worst.excess:
                worst = Finding(promise, excess, _difference(what, gap, allowed))

    try:
        _PROMISES[promise](near, cell, *_example(cell, seed))
    except AssertionError as error:
        return Finding(promise, np.inf, str(error))
    return worst


def _example(cell: Cell, seed: int, dtype=jnp.float32) -> tuple[Params, Array, State]:
    """Parameters, inputs and a state without zeros, which would hide terms of a formula."""
    keys = iter(jax.random.split(jax.random.key(seed), 32))
    params = cell.init(next(keys), _IN, _HIDDEN, dtype)
    params = {name: v + 0.3 * jax.random.normal(next(keys), v.shape, dtype) for name, v in params.items()}
    inputs = jax.random.normal(next(keys), (_TIME, _BATCH, _IN), dtype)
    state = tuple(
        v + 0.3 * jax.random.normal(next(keys), v.shape, dtype) for v in cell.initial_state(_BATCH, _HIDDEN, dtype)
    )
    return params, inputs, state


Near = Callable[..., None]  # (actual, expected, tolerance, what): refuses arrays that differ by more


def _near(actual, expected, tolerance: float = _FLOAT32, what: str = "") -> None:
    for gap, allowed in _gaps(actual, expected, tolerance):
        assert gap <= allowed, _difference(what, gap, allowed)  # a NaN fails, too


def _gaps(actual, expected, tolerance: float) -> Iterator[tuple[float, float]]:
    """The largest difference of each array, and the allowed one."""
    for got, wanted in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert got.shape == wanted.shape, f"shape {got.shape}, should be {wanted.shape}"
        got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        allowed = tolerance * max(1.0, float(np.abs(wanted).max(initial=0.0)))
        yield float(np.abs(got - wanted).max(initial=0.0)), allowed


def _excess(gap: float, allowed: float) -> float:
    if gap == 0:
        return 0.0
    return gap / allowed if np.isfinite(gap) and allowed else np.inf


def _difference(what: str, gap: float, allowed: float) -> str:
    return f"{what}differs by {gap:.2e}, allowed {allowed:.0e}"


# Compiled once for each cell, shape and set of options: an eager scan is compiled again at every call.
_STATIC = ("cell", "method", "reverse")
_scan = jax.jit(scan, static_argnames=_STATIC)


def _loss(cell: Cell, params: Params, inputs: Array, state: State, **options) -> Array:
    """A weighted sum of all outputs and of the last state, no two weights equal."""
    results = jax.tree.leaves(scan(cell, params, inputs, state=state, **options))
    return sum(
        (jnp.sum(jnp.sin(jnp.arange(v.size, dtype=v.dtype) + 1).reshape(v.shape) * v) for v in results), jnp.zeros(())
    )


_loss_and_gradients = jax.jit(jax.value_and_grad(_loss, argnums=(1, 2, 3)), static_argnames=_STATIC)


def _description_fits_its_parameters(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    width = len(cell.gates) * _HIDDEN
    shapes = {"W": (_IN, width), "b": (width,)} | dict.fromkeys(cell.unit_params, (_HIDDEN,))
    heads = cell.heads(_HIDDEN)
    recurrent = {"dense": (_HIDDEN, width), "diagonal": (width,)}
    if cell.recurrence != "none":
        shapes["R"] = recurrent.get(cell.recurrence, (heads, _HIDDEN // heads, width // heads))
    found = {name: value.shape for name, value in params.items()}
    assert found == shapes, f"init gave {found}, should be {shapes}"
    a, r = inputs[0] @ params["W"] + params["b"], recur(cell, params, state[0])
    read = {name: params[name] for name in cell.combine_params}
    after = cell.combine(read, state, a, r)
    assert len(after) == len(cell.state_names), f"combine returned {len(after)} entries for {cell.state_names}"
    near(after, cell.combine(params, state, a, r))
    summed = (jnp.arange(width) < width - len(cell.split_gates) * _HIDDEN) * r
    near(cell.combine(read, state, a + summed, r - summed), after)


def _padded_is_unpadded(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    for reverse in (False, True):
        outputs, final = _scan(cell, params, inputs, state=state, seq_lengths=jnp.array(_LENGTHS), reverse=reverse)
        for row, length in enumerate(_LENGTHS):
            one = slice(row, row + 1)
            alone = tuple(entry[one] for entry in state)
            wanted = _scan(cell, params, inputs[:length, one], state=alone, reverse=reverse)
            near((outputs[:length, one], tuple(entry[one] for entry in final)), wanted)
            assert not np.any(outputs[length:, row]), "an output in the padding is not zero"


def _ways(cell: Cell) -> list:
    """The methods of a cell, and an associative scan in short blocks: by default a short sequence is one block."""
    methods = methods_of(cell)
    return [*methods, *([Associative(3)] if "associative" in methods else [])]


def _padding_is_never_read(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    lengths = jnp.array(_LENGTHS)
    padding = (jnp.arange(_TIME)[:, None] >= lengths)[..., None]
    wanted = _loss_and_gradients(cell, params, inputs, state, seq_lengths=lengths, method="reference")
    for method in _ways(cell):
        for poison in (jnp.nan, jnp.inf):
            poisoned = jnp.where(padding, poison, inputs)
            near(_loss_and_gradients(cell, params, poisoned, state, seq_lengths=lengths, method=method), wanted)


def _chunked_is_whole(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    whole, final = _scan(cell, params, inputs, state=state)
    first, between = _scan(cell, params, inputs[:3], state=state)
    second, last = _scan(cell, params, inputs[3:], state=between)
    near((jnp.concatenate([first, second]), last), (whole, final))


def _reversed_is_flipped(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    outputs, final = _scan(cell, params, inputs[::-1], state=state)
    near(_scan(cell, params, inputs, state=state, reverse=True), (outputs[::-1], final))


def _segments_are_separate_sequences(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    starts = jnp.zeros((_TIME, _BATCH), bool).at[3].set(True)
    run = functools.partial(_scan, cell, params)
    first, second = run(inputs[:3], state=state), run(inputs[3:], state=state)
    near(run(inputs, state=state, segment_starts=starts), (jnp.concatenate([first[0], second[0]]), second[1]))
    first, second = run(inputs[:3], state=state, reverse=True), run(inputs[3:], state=state, reverse=True)
    packed = run(inputs, state=state, segment_starts=starts, reverse=True)
    near(packed, (jnp.concatenate([first[0], second[0]]), first[1]))


def _any_length_works(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    outputs, final = _scan(cell, params, inputs[:0], state=state)
    assert outputs.shape == (0, _BATCH, _HIDDEN), f"no steps gave outputs of shape {outputs.shape}"
    near(final, state, 0.0)
    _, (gradient, *_) = _loss_and_gradients(cell, params, inputs[:0], state)
    near(gradient, jax.tree.map(jnp.zeros_like, params), 0.0)
    a, r = inputs[0] @ params["W"] + params["b"], recur(cell, params, state[0])
    after = cell.combine(params, state, a, r)
    near(_scan(cell, params, inputs[:1], state=state), (after[0][None], after))


def _methods_agree(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    starts = jnp.zeros((_TIME, _BATCH), bool).at[2, 0].set(True)
    keys = jax.random.split(jax.random.key(3), len(state) + 1)
    noise: dict = {"zoneout_mask": tuple(jax.random.bernoulli(key, 0.3, (_TIME, *state[0].shape)) for key in keys[1:])}
    if "R" not in cell.reads_params:
        noise["recurrent_mask"] = 2.0 * jax.random.bernoulli(keys[0], 0.5, state[0].shape)
    situations: list[dict] = [
        {},
        {"seq_lengths": jnp.array(_LENGTHS), "reverse": True, "segment_starts": starts, **noise},
    ]
    for options in situations:
        wanted = _loss_and_gradients(cell, params, inputs, state, method="reference", **options)
        for method in _ways(cell):
            near(_loss_and_gradients(cell, params, inputs, state, method=method, **options), wanted)


def _gradients_are_finite_differences(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    with jax.enable_x64(True):
        point = _example(cell, 1, jnp.float64)
        loss = functools.partial(_loss_and_gradients, cell, seq_lengths=jnp.array(_LENGTHS))
        _, gradient = loss(*point)
        direction = _example(cell, 2, jnp.float64)
        step = 1e-5
        ahead, behind = (
            loss(*jax.tree.map(lambda x, d, s=sign: x + s * step * d, point, direction))[0] for sign in (1, -1)
        )
        slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)), jnp.zeros(()))
        near(slope, (ahead - behind) / (2 * step), _FLOAT64)


def _saturation_leaves_all_finite_and_right(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    of = (*sorted(params), "inputs", *cell.state_names)
    parts = ("the value", *(f"the gradient of {name}" for name in of))
    for what, own, steps, entered in _saturated(cell, params, state):
        with jax.enable_x64(True):
            exact = jax.tree.map(lambda v: np.asarray(v, np.float64), (own, steps, entered))
            wanted = jax.device_get(_loss_and_gradients(cell, *exact, seq_lengths=np.full(_BATCH, _TIME)))
        for method in _ways(cell):
            found = jax.device_get(_loss_and_gradients(cell, own, steps, entered, method=method))
            for part, value, right in zip(parts, jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                where = f"{what} at +-{_SATURATION:.0f}: {part} by {method!r} "
                assert np.isfinite(value).all(), f"{where}is not finite"
                if what != _EVERYTHING:  # of which float32 need not know more: an angle of 100 exp(9)
                    near(value, right, _SATURATED_DRIFT, where)


def _saturated(cell: Cell, params: Params, state: State) -> Iterator[tuple]:
    """Saturates each gate, each of `unit_params`, then all; yields its name, parameters, inputs and a state.

    Each step reads one row of `W`. Two sequences start from zeros.
    """
    own = {name: np.asarray(value) for name, value in params.items()}
    inputs = np.eye(_IN, dtype=np.float32)[np.transpose(_SATURATED_STEPS)]
    entered = tuple(np.asarray(entry) * np.array([[0], [0], [1], [1]], np.float32) for entry in state)
    ends = np.array([-_SATURATION, _SATURATION, 0], np.float32)
    for index, gate in enumerate(cell.gates):
        weights = own["W"].copy()
        weights[:2, index * _HIDDEN : (index + 1) * _HIDDEN] = ends[:2, None]
        yield f"gate {gate!r}", own | {"W": weights}, inputs, entered
    for name in cell.unit_params:
        values = np.resize(ends, _HIDDEN)
        yield f"{name!r}", own | {name: np.where(values == 0, own[name], values)}, inputs, entered
    rng = np.random.default_rng(0)
    for _ in range(2 * _HIDDEN):
        drawn = {name: rng.choice(ends, own[name].shape) for name in ("W", *cell.unit_params)}
        yield _EVERYTHING, own | drawn, inputs, entered


def _jacobian_is_that_of_autodiff(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    def step(flat: Array, x: Array) -> Array:
        before = tuple(entry[None] for entry in jnp.split(flat, len(state)))
        _, after = _scan(cell, params, x[None, None], state=before, method="reference")
        return jnp.concatenate(after, axis=1)[0]

    wanted = jax.vmap(jax.jacfwd(step))(jnp.concatenate(state, axis=1), inputs[0])
    near(step_jacobian(cell, params, state, inputs[0]), wanted)


def _bfloat16_stays_near_float32(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    exact, _ = _scan(cell, params, inputs, state=state)
    params, inputs, state = jax.tree.map(lambda v: v.astype(jnp.bfloat16), (params, inputs, state))
    rounded, final = _scan(cell, params, inputs, state=state)
    assert {entry.dtype for entry in (rounded, *final)} == {jnp.dtype(jnp.bfloat16)}, "bfloat16 did not stay bfloat16"
    drift = jnp.linalg.norm(rounded.astype(jnp.float32) - exact) / jnp.linalg.norm(exact)
    near(drift, jnp.zeros(()), _BFLOAT16_DRIFT, "relative to its size, the output ")


_PROMISES: dict[str, Callable[..., None]] = {
    check.__name__.removeprefix("_").replace("_", " "): check
    for check in (
        _description_fits_its_parameters,
        _padded_is_unpadded,
        _jacobian_is_that_of_autodiff,
        _saturation_leaves_all_finite_and_right,
        _chunked_is_whole,
        _reversed_is_flipped,
        _segments_are_separate_sequences,
        _any_length_works,
        _padding_is_never_read,
        _methods_agree,
        _gradients_are_finite_differences,
        _bfloat16_stays_near_float32,
    )
}
PROMISES = tuple(_PROMISES)
