"""Recurrences written out in NumPy, and derivatives by differences: what the fast code is measured against."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.cells import Cell, find_cell
from rnnlab.scans import Newton, methods_of, scan

TIME, BATCH, IN, HIDDEN = 6, 3, 4, 6
# One cell of each kind and structure, for what is asked of all of them in `rnnlab.testing` already.
SAMPLE = ("rnn", "gru", "gru_reset_before", "lstm_layer_norm", "slstm/heads3", "lru", "rnn/diagonal", "lstm/heads2")
NumpyStep = Callable[[dict, tuple, np.ndarray], tuple]


LINEAR = Cell(name="linear", gates=("h",), combine=lambda params, state, a, r: (a + r,))


def draw_module(make: Callable[[], nnx.Module], seed: int = 0) -> nnx.Module:
    """Makes a module with random numbers in it; its own initialisers would have to be compiled, one by one."""
    graph, params, statistics = nnx.split(nnx.eval_shape(make), nnx.Param, ...)
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda of: jnp.asarray(0.4 * rng.normal(size=of.shape), of.dtype), params)
    return nnx.merge(graph, params, jax.tree.map(lambda of: jnp.ones(of.shape, of.dtype), statistics))


@nnx.jit
def run_module(module: nnx.Module, *given, **options):
    """Calls a module, compiled at once instead of operation by operation."""
    return module(*given, **options)


def linear_params(recurrent) -> dict:
    """Parameters of `LINEAR`, or of another cell of one gate, that read nothing but the state."""
    size = len(recurrent)
    return {"W": jnp.zeros((1, size)), "R": jnp.asarray(recurrent), "b": jnp.zeros(size)}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def example(name: str, seed: int = 0) -> tuple[dict, np.ndarray, tuple]:
    """Parameters, inputs and a first state in float64, none of them zero."""
    rng = np.random.default_rng(seed)
    cell = find_cell(name)
    gates, structure = len(cell.gates), cell.recurrence
    params = {"W": 0.5 * rng.normal(size=(IN, gates * HIDDEN)), "b": 0.5 * rng.normal(size=gates * HIDDEN)}
    if structure == "dense":
        params["R"] = 0.5 * rng.normal(size=(HIDDEN, gates * HIDDEN))
    elif structure == "diagonal":
        params["R"] = 0.5 * rng.normal(size=gates * HIDDEN)
    elif structure != "none":
        part = HIDDEN // int(structure[5:])
        params["R"] = 0.5 * rng.normal(size=(int(structure[5:]), part, gates * part))
    params |= {key: 0.5 * rng.normal(size=HIDDEN) for key in cell.unit_params}
    state = tuple(rng.normal(size=(BATCH, HIDDEN)) for _ in cell.state_names)
    return params, rng.normal(size=(TIME, BATCH, IN)), state


def saturated(name: str) -> tuple[dict, np.ndarray, tuple]:
    """An example with a bias of +-100 or 0 in each gate and +-100 in each parameter of a unit."""
    params, inputs, state = example(name, seed=1)
    rng = np.random.default_rng(2)
    params["b"] = rng.choice([-100.0, 0.0, 100.0], params["b"].shape)
    params |= {key: rng.choice([-100.0, 100.0], HIDDEN) for key in find_cell(name).unit_params}
    return params, inputs, state


def recurrent(name: str, params: dict, h: np.ndarray) -> np.ndarray:
    """h R, one unit after another."""
    cell = find_cell(name)
    found = np.zeros((len(h), len(cell.gates), h.shape[1]))
    for gate in range(len(cell.gates)):
        for unit in range(h.shape[1]):
            if cell.recurrence == "dense":
                found[:, gate, unit] = h @ np.asarray(params["R"])[:, gate * h.shape[1] + unit]
            elif cell.recurrence == "diagonal":
                found[:, gate, unit] = h[:, unit] * params["R"][gate * h.shape[1] + unit]
            elif cell.recurrence != "none":
                head, place = divmod(unit, params["R"].shape[1])
                own = h[:, head * params["R"].shape[1] : (head + 1) * params["R"].shape[1]]
                found[:, gate, unit] = own @ np.asarray(params["R"])[head, :, gate * params["R"].shape[1] + place]
    return found.reshape(len(h), -1)


def numpy_scan(step: NumpyStep, params: dict, inputs: np.ndarray, state: tuple) -> tuple[np.ndarray, tuple]:
    outputs = []
    for x in inputs:
        state = step(params, state, x)
        outputs.append(state[0])
    return np.stack(outputs), state


def weighted(results) -> float:
    """A scalar in which every number has a weight of its own."""
    leaves = jax.tree.leaves(results)
    return sum((jnp.cos(jnp.arange(v.size) * 1.0).reshape(v.shape) * v).sum() for v in leaves)


def numeric_gradient(loss: Callable, *args):
    """Central differences of `loss(*args)` for every number of every array."""
    leaves, structure = jax.tree.flatten(args)
    gradients = []
    for index, leaf in enumerate(leaves):
        gradient = np.zeros_like(leaf)
        for position in np.ndindex(leaf.shape):
            ends = []
            for sign in (1, -1):
                moved = leaf.copy()
                moved[position] += sign * 1e-6
                ends.append(float(loss(*structure.unflatten([*leaves[:index], moved, *leaves[index + 1 :]]))))
            gradient[position] = (ends[0] - ends[1]) / 2e-6
        gradients.append(gradient)
    return structure.unflatten(gradients)


def assert_close(actual, expected, tolerance: float = 1e-5) -> None:
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance), actual, expected)


def assert_follows_formula(name: str, step: NumpyStep) -> None:
    """`scan` with that cell = the recurrence of `step`, values and all gradients, by every method; saturated, too."""
    points = (example(name), 1e-10, 1e-6), (saturated(name), 1e-8, 1e-3)
    cell, exact = find_cell(name), Newton(tolerance=1e-12)
    with jax.enable_x64(True):
        wanted = [
            (numpy_scan(step, *args), numeric_gradient(lambda *moved: weighted(numpy_scan(step, *moved)), *args))
            for args, *_ in points
        ]
        methods = [known for known in methods_of(cell) if known != "pallas"]  # `tests/scans/test_kernels.py` has it
        for method in (exact if known == "newton" else known for known in methods):

            @functools.partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
            def run(params, inputs, state, method=method):
                found = scan(cell, params, inputs, state=state, method=method)
                return weighted(found), found

            program = jax.jit(run)
            for (args, *tolerances), (values, slopes) in zip(points, wanted, strict=True):
                (_, found), gradients = program(*jax.tree.map(jnp.asarray, args))
                assert_close(found, values, tolerances[0])
                assert_close(gradients, slopes, tolerances[1])
