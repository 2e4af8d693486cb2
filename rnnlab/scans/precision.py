"""Products in real float32 where results are claimed to be exact."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def exact_products(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function compute its products of float32 values in float32, and those of its derivatives.

    By default jax multiplies in TF32 on a GPU and in bfloat16 on a TPU, with an error of 1e-3 or more; on a CPU always
    in float32.
    """

    @functools.wraps(function)
    def exact(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return exact
