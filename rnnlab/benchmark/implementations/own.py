"""Ours, the plain `jax.lax.scan` differentiated by jax, and the products alone."""

import jax
import jax.numpy as jnp

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported
from rnnlab.benchmark.implementations.jax_layer import JaxLayer, draw, layer_of
from rnnlab.cells import Params
from rnnlab.scan import Plan, resolve_plan, scan


def rnnlab(case: Case, *how: str) -> JaxLayer:
    """`scan` as it chooses itself, or as `how` says: ("sqrt",), ("step", "64"), ("block", "all")."""
    options: dict = {}
    if how == ("sqrt",):
        options = {"checkpoint_every": "sqrt"}
    elif how:
        block = case.length if how[1] == "all" else int(how[1])
        options = {"method": Plan(min(block, case.length), project=how[0])}
    return layer_of(case, lambda p, x: scan(case.description, p, x, **options)[0], _params(case))


def plain(case: Case) -> JaxLayer:
    """A loop with the whole step inside, differentiated by jax."""
    return layer_of(case, lambda p, x: scan(case.description, p, x, method="reference")[0], _params(case))


def products(case: Case) -> JaxLayer:
    """What no implementation can leave out: the products with W and R, and for training those of the gradients.

    The recurrent ones one after another; the others over all steps at once, or step by step where `resolve_plan` says
    that this is the faster way. A sum of little weight ties each step to the one before.

    Raises:
      Unsupported: the cell's R is not dense.
    """
    if case.description.recurrence != "dense":
        raise Unsupported(f"counts a dense R only, not {case.description.recurrence!r}")
    per_step = resolve_plan(case.description, case.length, case.batch).project == "step"
    params = _params(case)
    weights = [params[name].astype(case.dtype) for name in ("W", "R")]

    def forward(W, R, inputs):
        def step(h, x):
            gates = h @ R + (x @ W if per_step else x)
            return 1e-3 * gates[:, : case.hidden], None

        return jax.lax.scan(step, jnp.zeros_like(inputs[0]), inputs if per_step else inputs @ W)[0]

    def training(W, R, inputs, d_projections):
        def step(dh, d):
            return 1e-3 * ((d + dh[:1, :1]) @ R.T), None

        d_state, _ = jax.lax.scan(step, forward(W, R, inputs), d_projections)
        rows, d_rows = (v.reshape(-1, v.shape[-1]) for v in (inputs, d_projections))
        return d_state, rows.T @ d_rows, (rows + 1).T @ d_rows, d_projections @ W.T

    if case.pass_ == "forward":
        return JaxLayer(forward, *weights, draw(case, "inputs"))
    gates = len(case.description.gates)
    return JaxLayer(training, *weights, draw(case, "inputs"), draw(case, "d_projections", gates))


def _params(case: Case) -> Params:
    return case.description.init(jax.random.key(0), case.hidden, case.hidden)
