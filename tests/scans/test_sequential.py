import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import CELLS, find_cell
from rnnlab.scans import Plan, scan
from tests import nightly

BFLOAT16_DRIFT = 0.05  # relative, of h at any step

OPTIONS = {
    "whole": {},
    "everything": {
        "seq_lengths": np.array([6, 0, 4]),
        "reverse": True,
        "segment_starts": np.array([[0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]], bool),
    },
}


@functools.partial(jax.jit, static_argnames=("name", "method", "options"))
def _derivatives(args, name, method, options):
    """Gradients of parameters, inputs and state, and the results."""

    def run(params, inputs, state):
        results = scan(find_cell(name), params, inputs, state=state, method=method, **OPTIONS[options])
        return oracle.weighted(results), results

    return jax.grad(run, argnums=(0, 1, 2), has_aux=True)(*args)


@functools.cache
def _by_autodiff(name, options):
    return _derivatives(oracle.example(name), name, "reference", options)


@pytest.mark.parametrize("options", ["everything", *nightly.only("whole")])
@pytest.mark.parametrize("name", oracle.SAMPLE)
def test_gradients_are_those_of_autodiff(name, options):
    with jax.enable_x64(True):
        ours, wanted = _derivatives(oracle.example(name), name, "sequential", options), _by_autodiff(name, options)
    oracle.assert_close(ours, wanted, 1e-12)


def _scans(jaxpr):
    """Every scan in a program, outermost first."""
    for eqn in jaxpr.eqns:
        bodies = [v.jaxpr for v in eqn.params.values() if hasattr(v, "jaxpr")]
        if eqn.primitive.name == "scan":
            yield bodies[0]
        for body in bodies:
            yield from _scans(body)


def _loops_over_steps(cell, plan):
    """Parameters for 3 features and 12 units, and the bodies of the loops over steps of the gradients' program."""
    params, inputs = cell.init(jax.random.key(0), 3, 12), jnp.zeros((9, 2, 3))
    program = jax.make_jaxpr(jax.grad(lambda p: scan(cell, p, inputs, method=plan)[0].sum()))(params)
    return params, [body for body in _scans(program.jaxpr) if not list(_scans(body))]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", oracle.SAMPLE)
def test_the_backward_loop_over_steps_carries_no_weight_gradient(name, recompute):
    """Only dh, ds (and the small unit parameters) may be carried by a step; dW and dR are products of blocks."""
    cell = find_cell(name)
    params, over_steps = _loops_over_steps(cell, Plan(3, recompute=recompute))
    assert len(over_steps) == (3 if recompute else 2)
    for body in over_steps:
        carried = [variable.aval.shape for variable in body.outvars]
        assert params["W"].shape not in carried
        if "R" not in cell.reads_params and cell.recurrence not in (
            "none",
            "diagonal",
        ):  # a diagonal is no larger than b
            assert params["R"].shape not in carried


@pytest.mark.parametrize("plan", [Plan(3), Plan(9, project="block", pull="block")])
@pytest.mark.parametrize("name", ["gru", "lstm/none", "lru"])
def test_a_step_reads_residuals_a_gate_at_a_time(name, plan):
    """XLA vectorises no kernel that reads several places of a row which it has to find, on a CPU."""
    _, over_steps = _loops_over_steps(find_cell(name), plan)
    read = [
        eq.outvars[0].aval.shape[-1] for body in over_steps for eq in body.eqns if "dynamic_slice" in str(eq.primitive)
    ]
    assert 12 in read
    assert max(read) == 12


def test_a_joined_loop_writes_one_array_in_each_step():
    """Forward a row of residuals, backward one of gradients; else each is an update, and a kernel, of its own."""
    for joined, written in ((False, [3, 2]), (True, [1, 1])):
        _, over_steps = _loops_over_steps(find_cell("lstm"), Plan(9, pull="block", joined=joined))
        results = [[v for v in body.outvars if v.aval.size] for body in over_steps]  # some parts of it have no width
        assert [len(values) - len(["h", "c"]) for values in results] == written


PLANS = {
    "blocks": Plan(2),
    "projected in blocks": Plan(3, project="block"),
    "pulled in blocks": Plan(2, pull="block"),
    "recomputed": Plan(2, recompute=True),
    "unrolled": Plan(6, unroll=4),
    "joined": Plan(3, joined=True),
    "of an accelerator": Plan(3, project="block", pull="block", unroll=2, joined=True, ahead=True),
    "joined, recomputed and padded": Plan(4, joined=True, recompute=True),
    "recomputed and padded": Plan(4, project="block", pull="block", recompute=True),
}


@pytest.mark.parametrize(
    ("name", "plan", "options"),
    [
        *(("gru", plan, "everything") for plan in PLANS.values()),
        *nightly.only(
            *((n, plan, "everything") for n in ("lru", "rnn/diagonal", "lstm/heads2") for plan in PLANS.values())
        ),
        *nightly.only(*(("lstm", plan, "whole") for plan in PLANS.values())),
    ],
)
def test_no_plan_changes_values_or_gradients(name, plan, options):
    with jax.enable_x64(True):
        ours, wanted = _derivatives(oracle.example(name), name, plan, options), _by_autodiff(name, options)
    oracle.assert_close(ours, wanted, 1e-12)


@pytest.mark.parametrize("every", [1, 3, 100, "sqrt"])
def test_checkpoints_change_neither_values_nor_gradients(every):
    params, inputs, state = jax.tree.map(jnp.asarray, oracle.example("lstm"))

    def loss(params, inputs, state, every):
        return oracle.weighted(scan(CELLS["lstm"], params, inputs, state=state, checkpoint_every=every))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)), static_argnums=3)
    both = [gradient(params, inputs, state, e) for e in (every, None)]
    oracle.assert_close(*both, 1e-5)


def test_checkpoints_hold_a_small_part_of_the_memory():
    cell = CELLS["gru"]
    params = cell.init(jax.random.key(0), 32, 32)

    def temporary(every):
        def loss(params, inputs):
            return scan(cell, params, inputs, checkpoint_every=every)[0].sum()

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(params, jnp.zeros((1024, 8, 32))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary("sqrt") < temporary(None) / 4


@pytest.mark.parametrize("name", nightly.only("rnn", "gru", "lstm"))
def test_bfloat16_products_with_a_float32_state_stay_near_float32_over_4096_steps(name):
    """8 bits of mantissa in every operand, none lost in the state: an error that does not grow with time."""
    cell = find_cell(name)
    params = cell.init(jax.random.key(0), 24, 24)
    inputs = jax.random.normal(jax.random.key(1), (4096, 2, 24))
    run = jax.jit(functools.partial(scan, cell))
    exact, _ = run(params, inputs)
    narrow, final = run({k: v.astype(jnp.bfloat16) for k, v in params.items()}, inputs.astype(jnp.bfloat16))
    assert narrow.dtype == jnp.bfloat16
    assert {entry.dtype for entry in final} == {jnp.dtype(jnp.float32)}
    drift = np.linalg.norm(narrow.astype(jnp.float32) - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    assert drift.max() < BFLOAT16_DRIFT


@pytest.mark.parametrize("dtypes", [("float32", "bfloat16"), ("bfloat16", "float32")], ids="-".join)
@pytest.mark.parametrize(
    "method", ["sequential", Plan(6, project="block", pull="block", unroll=2, joined=True)], ids=str
)
@pytest.mark.parametrize("name", ["lstm", *nightly.only("gru")])
def test_each_gradient_has_the_dtype_of_what_it_belongs_to(name, method, dtypes):
    params, inputs, _ = oracle.example(name)
    params = {key: jnp.asarray(value, dtypes[0]) for key, value in params.items()}
    inputs = jnp.asarray(inputs, dtypes[1])
    gradients = [
        jax.jit(jax.grad(lambda p, x, m=m: scan(find_cell(name), p, x, method=m)[0].sum(), (0, 1)))(params, inputs)
        for m in (method, "reference")
    ]
    for ours, wanted in zip(*map(jax.tree.leaves, gradients), strict=True):
        assert ours.dtype == wanted.dtype
        drift = jnp.linalg.norm((ours - wanted).astype(jnp.float32)) / jnp.linalg.norm(wanted.astype(jnp.float32))
        assert drift < 0.02
