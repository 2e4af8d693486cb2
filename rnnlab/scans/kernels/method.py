"""The scan by fused kernels, with a custom derivative. Reverse mode only."""

import functools

import jax
from jax import Array

from rnnlab.cells import Cell, Params, State
from rnnlab.scans.backward import backward
from rnnlab.scans.kernels.backward import pull_steps
from rnnlab.scans.kernels.forward import forward
from rnnlab.scans.kernels.settings import Pallas, resolve_kernel
from rnnlab.scans.plan import Plan
from rnnlab.scans.recurrence import weights_dtype
from rnnlab.scans.residuals import Residuals
from rnnlab.scans.sequences import Sequences


def run(cell: Cell, settings: Pallas, params: Params, given: Sequences) -> tuple[Array, State]:
    """Returns `h` of every step `[time, batch, hidden]` and the last state.

    Raises:
      ValueError: the backend cannot take the cell, a size, the dtype or the settings.
    """
    batch, units = given.initial[0].shape
    resolved = resolve_kernel(cell, settings, given.time, batch, units, weights_dtype(params))
    return _run(cell, resolved, params, given)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _run(cell: Cell, settings: Pallas, params: Params, given: Sequences) -> tuple[Array, State]:
    final, stored = forward(cell, settings, params, given, store=False)
    return stored.hidden, final


def _forward(cell: Cell, settings: Pallas, params: Params, given: Sequences):
    final, stored = forward(cell, settings, params, given, store=True)
    return (stored.hidden, final), Residuals(params, given, (), stored)


def _backward(cell: Cell, settings: Pallas, residuals: Residuals, cotangents: tuple[Array, State]):
    plan = Plan(cotangents[0].shape[0], project="block")
    return backward(cell, plan, residuals, cotangents, functools.partial(pull_steps, cell, settings))


_run.defvjp(_forward, _backward)
