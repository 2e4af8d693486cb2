"""Where a scan is not part of a larger program, which jax does not tell."""

from typing import Any

from jax._src import core
from jax._src.interpreters import ad


def is_eager(settings: Any) -> bool:
    """Returns whether a program with these settings is called outside `jax.jit`, at most under `jax.grad`.

    There each call would compile its loops anew, unless a jitted function finds the program of the call before.
    Elsewhere that gains nothing, and a cell may hold values of the program around it, which no other program can have.
    Settings without a hash find no program.
    """
    trace = core.trace_ctx.trace
    while isinstance(trace, ad.JVPTrace | ad.LinearizeTrace):
        trace = trace.parent_trace
    return isinstance(trace, core.EvalTrace) and _has_hash(settings)


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except Exception:  # of a user's own class
        return False
    return True
