"""What a cell promises: a check for each promise, by small arrays. Imports only cells and scans."""

import functools
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans import Associative, methods_of, resolve_plan, scan, step_jacobian
from rnnlab.scans.recurrence import recur

_TIME, _BATCH, _IN, _HIDDEN = 8, 4, 3, 6
_HALF = _TIME // 2
_LENGTHS = (_TIME, _HALF, 0, 1)
_FLOAT64 = 1e-6
_SATURATION, _SATURATED_DRIFT = 100.0, 0.01  # float32 has only a few digits of a derivative there
_SATURATED_STEPS = (  # rows of W for each sequence: -100, 100, or as drawn
    8 * (0,),
    8 * (1,),
    (1, 0, 2, 1, 0, 1, 0, 1),
    (0, 2, 2, 1, 2, 2, 0, 2),
)
_EVERYTHING = "every gate and parameter"
_BFLOAT16_DRIFT = 0.01  # relative, about 2.5 times the unit round-off 2^-8 of one operation

Near = Callable[..., None]  # (actual, expected, tolerance, what): refuses arrays that differ by more


def draw_example(cell: Cell, seed: int) -> tuple:
    """Draws parameters, inputs and a state without zeros, which would hide terms of a formula.

    They are NumPy arrays, so that slicing compiles no program.
    """
    rng = np.random.default_rng(seed)
    params, state = jax.device_get(
        (cell.init(jax.random.key(seed), _IN, _HIDDEN), cell.initial_state(_BATCH, _HIDDEN, jnp.float32))
    )
    inputs = rng.normal(size=(_TIME, _BATCH, _IN)).astype(np.float32)
    moved = jax.tree.map(lambda v: v + 0.3 * rng.normal(size=v.shape).astype(v.dtype), (params, state))
    return moved[0], inputs, moved[1]


# Compiled once for each cell, shape and set of options: an eager scan is compiled again at every call.
_STATIC = ("cell", "method", "reverse")
_scan = jax.jit(scan, static_argnames=_STATIC)


def _loss(cell: Cell, params: Params, inputs: Array, state: State, **options) -> Array:
    """Returns a weighted sum of all outputs and of the last state, no two weights equal."""
    results = jax.tree.leaves(scan(cell, params, inputs, state=state, **options))
    return sum(
        (jnp.sum(jnp.sin(jnp.arange(v.size, dtype=v.dtype) + 1).reshape(v.shape) * v) for v in results), jnp.zeros(())
    )


_loss_and_gradients = jax.jit(jax.value_and_grad(_loss, argnums=(1, 2, 3)), static_argnames=_STATIC)


def _every_option(cell: Cell, *, acts: bool = True) -> dict:
    """Returns all options of `scan`, neutral unless it `acts`, so that the compiled program is the same."""
    rng = np.random.default_rng(3)
    shape = _TIME, _BATCH, _HIDDEN
    options: dict = {"seq_lengths": np.array(_LENGTHS if acts else _BATCH * (_TIME,), np.int32), "reverse": True}
    options["segment_starts"] = np.zeros(shape[:2], bool)
    options["segment_starts"][2, 0] = acts
    options["zoneout_mask"] = tuple(rng.random(shape) < 0.3 * acts for _ in cell.state_names)
    if "R" not in cell.reads_params:
        options["recurrent_mask"] = np.where(rng.random(shape[1:]) < 0.5 * acts, 0, 1 + acts).astype(np.float32)
    return options


def _doubles(tree):
    """Casts arrays to float64."""
    return jax.tree.map(lambda v: np.float64(v) if getattr(v, "dtype", None) == np.float32 else v, tree)


@functools.partial(jax.jit, static_argnames="cell")
def _step(cell: Cell, params: Params, state: State, x: Array) -> tuple[State, State, State]:
    """Returns the state after a step by definition: with the parameters that the description names, with all of them,
    and with `a + r` of the gates that are not split passed as `a`."""
    a, r = x @ params["W"] + params["b"], recur(cell, params, state[0])
    read = {name: params[name] for name in cell.combine_params}
    summed = (jnp.arange(a.shape[-1]) < a.shape[-1] - len(cell.split_gates) * _HIDDEN) * r
    return (
        cell.combine(read, state, a, r),
        cell.combine(params, state, a, r),
        cell.combine(read, state, a + summed, r - summed),
    )


def _description_fits_its_parameters(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    width = len(cell.gates) * _HIDDEN
    shapes = {"W": (_IN, width), "b": (width,)} | dict.fromkeys(cell.unit_params, (_HIDDEN,))
    heads = cell.heads(_HIDDEN)
    recurrent = {"dense": (_HIDDEN, width), "diagonal": (width,)}
    if cell.recurrence != "none":
        shapes["R"] = recurrent.get(cell.recurrence, (heads, _HIDDEN // heads, width // heads))
    found = {name: value.shape for name, value in params.items()}
    assert found == shapes, f"init gave {found}, should be {shapes}"
    after, *others = _step(cell, params, state, inputs[0])
    assert len(after) == len(cell.state_names), f"combine returned {len(after)} entries for {cell.state_names}"
    for other in others:
        near(other, after)


def _padded_is_unpadded(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    lengths = np.array(_LENGTHS, np.int32)
    poisoned = np.where((np.arange(_TIME)[:, None] >= lengths)[..., None], np.float32(np.nan), inputs)
    for reverse in (False, True):
        found = _scan(cell, params, poisoned, state=state, seq_lengths=lengths, reverse=reverse)
        outputs, final = jax.device_get(found)
        for row, length in enumerate(_LENGTHS):
            wanted = _scan(cell, params, inputs[:length], state=state, reverse=reverse and length > 1)
            own = (outputs[:length], final), jax.device_get(wanted)
            near(*jax.tree.map(lambda v, row=row: v[..., row, :], own))
            assert not np.any(outputs[length:, row]), "an output in the padding is not zero"


def list_ways(cell: Cell, methods: Iterable[str] | None) -> list:
    """Lists methods, by default with the plan of an accelerator, and an associative scan in short blocks (by default a
    short sequence is one).
    """
    default = [
        *(name for name in methods_of(cell) if name != "pallas"),
        resolve_plan(cell, _TIME, _BATCH, device="gpu"),
    ]
    ways = default if methods is None else list(methods)
    return [*ways, *([Associative(4)] if "associative" in ways else [])]


def _padding_is_never_read(near: Near, cell: Cell, params: Params, inputs: Array, state: State, *, ways: list):
    options = _every_option(cell)
    padding = (np.arange(_TIME)[:, None] >= options["seq_lengths"])[..., None]
    wanted = _loss_and_gradients(cell, params, inputs, state, method="reference", **options)
    for method in ways:
        for poison in (np.nan, np.inf):
            poisoned = np.where(padding, np.float32(poison), inputs)
            near(_loss_and_gradients(cell, params, poisoned, state, method=method, **options), wanted)


def _chunked_is_whole(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    whole, final = _scan(cell, params, inputs, state=state)
    first, between = _scan(cell, params, inputs[:_HALF], state=state)
    second, last = _scan(cell, params, inputs[_HALF:], state=between)
    near((np.concatenate([first, second]), last), (whole, final))


def _reversed_is_flipped(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    outputs, final = _scan(cell, params, inputs[::-1], state=state)
    near(_scan(cell, params, inputs, state=state, reverse=True), (np.flip(outputs, 0), final))


def _segments_are_separate_sequences(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    starts = np.zeros((_TIME, _BATCH), bool)
    starts[_HALF] = True
    for reverse in (False, True):
        run = functools.partial(_scan, cell, params, state=state, reverse=reverse)
        first, second = run(inputs[:_HALF]), run(inputs[_HALF:])
        final = first[1] if reverse else second[1]
        near(run(inputs, segment_starts=starts), (np.concatenate([first[0], second[0]]), final))


def _any_length_works(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    outputs, final = _scan(cell, params, inputs[:0], state=state)
    assert outputs.shape == (0, _BATCH, _HIDDEN), f"no steps gave outputs of shape {outputs.shape}"
    near(final, state, 0.0)
    _, (gradient, *_) = _loss_and_gradients(cell, params, inputs[:0], state)
    near(gradient, jax.tree.map(np.zeros_like, params), 0.0)
    after, *_ = _step(cell, params, state, inputs[0])
    near(_scan(cell, params, inputs[:1], state=state), (np.expand_dims(after[0], 0), after))


def _methods_agree(near: Near, cell: Cell, params: Params, inputs: Array, state: State, *, ways: list):
    _agree(near, cell, (params, inputs, state), {}, ways)


def _methods_agree_with_every_option(
    near: Near, cell: Cell, params: Params, inputs: Array, state: State, *, ways: list
):
    _agree(near, cell, (params, inputs, state), _every_option(cell), ways)


def _agree(near: Near, cell: Cell, example: tuple, options: dict, ways: list) -> None:
    wanted = _loss_and_gradients(cell, *example, method="reference", **options)
    for method in ways:
        if method != "reference":
            near(_loss_and_gradients(cell, *example, method=method, **options), wanted)


def _gradients_are_finite_differences(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    point, direction, options = _doubles(((params, inputs, state), draw_example(cell, 1), _every_option(cell)))
    step = 1e-5
    with jax.enable_x64(True):
        loss = functools.partial(_loss_and_gradients, cell, method="reference", **options)
        ahead, behind = (
            float(loss(*jax.tree.map(lambda x, d, s=sign: x + s * step * d, point, direction))[0]) for sign in (1, -1)
        )
        gradient = jax.device_get(loss(*point)[1])
    slope = sum(np.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    near(slope, np.float64((ahead - behind) / (2 * step)), _FLOAT64)


def _saturation_leaves_all_finite_and_right(
    near: Near, cell: Cell, params: Params, inputs: Array, state: State, *, ways: list
):
    of = (*sorted(params), "inputs", *cell.state_names)
    parts = ("the value", *(f"the gradient of {name}" for name in of))
    options = _every_option(cell, acts=False)
    for what, own, steps, entered in _saturated(cell, params, state):
        with jax.enable_x64(True):
            exact = _doubles((own, steps, entered))
            wanted = _loss_and_gradients(cell, *exact, method="reference", **_doubles(options))
        for method in ways:
            found = jax.device_get(_loss_and_gradients(cell, own, steps, entered, method=method, **options))
            for part, value, right in zip(parts, jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                where = f"{what} at +-{_SATURATION:.0f}: {part} by {method!r} "
                assert np.isfinite(value).all(), f"{where}is not finite"
                if what != _EVERYTHING:  # where float32 has no digits left: an angle of 100 exp(9)
                    near(value, right, _SATURATED_DRIFT, where)


def _saturated(cell: Cell, params: Params, state: State) -> Iterator[tuple]:
    """Saturates each gate, each of `unit_params`, then all; yields its name, parameters, inputs and a state.

    Each step reads one row of `W`. Two sequences start from zeros.
    """
    inputs = np.eye(_IN, dtype=np.float32)[np.transpose(_SATURATED_STEPS)]
    entered = tuple(entry * np.array([[0], [0], [1], [1]], np.float32) for entry in state)
    ends = np.array([-_SATURATION, _SATURATION, 0], np.float32)
    for index, gate in enumerate(cell.gates):
        weights = params["W"].copy()
        weights[:2, index * _HIDDEN : (index + 1) * _HIDDEN] = ends[:2, None]
        yield f"gate {gate!r}", params | {"W": weights}, inputs, entered
    for name in cell.unit_params:
        values = np.resize(ends, _HIDDEN)
        yield f"{name!r}", params | {name: np.where(values == 0, params[name], values)}, inputs, entered
    rng = np.random.default_rng(0)
    for _ in range(2 * _HIDDEN):
        drawn = {name: rng.choice(ends, params[name].shape) for name in ("W", *cell.unit_params)}
        yield _EVERYTHING, params | drawn, inputs, entered


@functools.partial(jax.jit, static_argnames="cell")
def _jacobians(cell: Cell, params: Params, state: State, x: Array) -> tuple[Array, Array]:
    """Compares the Jacobian of a step with forward-mode differentiation of the reference."""

    def step(flat: Array, x: Array) -> Array:
        before = tuple(entry[None] for entry in jnp.split(flat, len(state)))
        _, after = scan(cell, params, x[None, None], state=before, method="reference")
        return jnp.concatenate(after, axis=1)[0]

    wanted = jax.vmap(jax.jacfwd(step))(jnp.concatenate(state, axis=1), x)
    return step_jacobian(cell, params, state, x), wanted


def _jacobian_is_that_of_autodiff(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    near(*_jacobians(cell, params, state, inputs[0]))


def _bfloat16_stays_near_float32(near: Near, cell: Cell, params: Params, inputs: Array, state: State):
    given = jax.tree.map(lambda v: v.astype(jnp.bfloat16), (params, inputs, state))
    rounded, final = _scan(cell, *given[:2], state=given[2])
    as_given = jax.tree.map(lambda v: np.asarray(v, np.float32), given)  # what the values lose is not the scan
    exact, _ = jax.device_get(_scan(cell, *as_given[:2], state=as_given[2]))
    assert {entry.dtype for entry in (rounded, *final)} == {jnp.dtype(jnp.bfloat16)}, "bfloat16 did not stay bfloat16"
    drift = np.linalg.norm(np.asarray(rounded, np.float32) - exact) / np.linalg.norm(exact)
    near(drift, np.float32(0), _BFLOAT16_DRIFT, "relative to its size, the output ")


PROMISES: dict[str, Callable[..., None]] = {
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
        _methods_agree_with_every_option,
        _gradients_are_finite_differences,
        _bfloat16_stays_near_float32,
    )
}
OF_METHODS = (
    _saturation_leaves_all_finite_and_right,
    _padding_is_never_read,
    _methods_agree,
    _methods_agree_with_every_option,
)
