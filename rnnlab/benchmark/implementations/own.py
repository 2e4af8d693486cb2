"""Ours, the plain `jax.lax.scan` differentiated by jax, and the matrix products alone."""

import dataclasses

import jax
import jax.numpy as jnp

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported
from rnnlab.benchmark.implementations.jax_layer import JaxLayer, draw, layer_of
from rnnlab.cells import Params
from rnnlab.scans import Associative, Newton, Plan, methods_of, newton_scan, resolve_plan, scan

# name: (project, pull)
_PLANS = {"step": ("step", "step"), "block": ("block", "step"), "apart": ("block", "block"), "pull": ("step", "block")}


def rnnlab(case: Case, *how: str) -> JaxLayer:
    """Builds `scan` with its own choice, or by `how`: ("sqrt",), ("step", "64"), ("newton", "diagonal", "4096").

    Raises:
      Unsupported: a method that the cell does not have, or a kernel that refuses its sizes or this device.
    """
    options = _options(case, *how)
    layer = layer_of(case, lambda p, rows: scan(case.description, p, **rows._asdict(), **options)[0], _params(case))
    if how == ("pallas",):
        _check(layer)
    if isinstance(method := options.get("method"), Newton):
        layer.facts = lambda: _newton_facts(case, method)
    return layer


def _options(case: Case, *how: str) -> dict:
    kind, last = (how[0], how[-1]) if how else ("", "")
    size = min(int(last), case.length) if last.isdecimal() else None
    if kind in ("associative", "pallas") and kind not in methods_of(case.description):
        raise Unsupported(f"cell {case.cell!r} has only the methods {', '.join(methods_of(case.description))}")
    if kind == "associative":
        return {"method": Associative(size)}
    if kind == "newton":
        return {"method": Newton(next((w for w in how if w in ("full", "diagonal")), "auto"), chunk=size)}
    if kind in _PLANS:
        return {"method": Plan(size or case.length, *_PLANS[kind])}
    if kind == "unroll":
        plan = resolve_plan(case.description, case.length, case.batch)
        return {"method": dataclasses.replace(plan, unroll=int(last))}
    return {"sqrt": {"checkpoint_every": "sqrt"}, "": {}}.get(kind, {"method": kind})


def _check(layer: JaxLayer) -> None:
    """Traces a layer, since a kernel refuses what it cannot take only then."""
    try:
        jax.eval_shape(layer.function, *layer.calls[0])
    except ValueError as error:
        raise Unsupported(str(error)) from None


def _newton_facts(case: Case, method: Newton) -> dict[str, bool | int]:
    """Returns figures of Newton's method on the case."""
    report = jax.jit(lambda p, x: newton_scan(case.description, p, x, newton=method)[2])
    found = report(_params(case), draw(case, "inputs"))
    return {"newton_iterations": int(found.iterations), "newton_converged": bool(found.converged)}


def plain(case: Case) -> JaxLayer:
    """Builds a loop with the whole step inside, differentiated by jax."""
    return layer_of(
        case, lambda p, rows: scan(case.description, p, **rows._asdict(), method="reference")[0], _params(case)
    )


def products(case: Case) -> JaxLayer:
    """Builds the operations that every implementation of a layer needs: the products with W and R, and for training
    those of the gradients.

    The recurrent products are sequential; the others are parallel over time, or step by step if `resolve_plan` chooses
    that. A small term makes each step depend on the one before.

    Raises:
      Unsupported: the cell's R is not dense; several layers, or unequal lengths.
    """
    if case.description.recurrence != "dense":
        raise Unsupported(f"needs a dense R, not {case.description.recurrence!r}")
    if case.layers > 1 or case.is_ragged:
        raise Unsupported("needs one layer over sequences of equal lengths")
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
        return JaxLayer(forward, [(*weights, draw(case, "inputs"))])
    gates = len(case.description.gates)
    return JaxLayer(training, [(*weights, draw(case, "inputs"), draw(case, "d_projections", gates))])


def _params(case: Case) -> Params:
    return case.description.init(jax.random.key(0), case.hidden, case.hidden)
