"""Lowers programs for every platform, for symbolic sizes."""

from typing import Any

import jax
from jax import export

from rnnlab.errors import UserError
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.exports import Program

PLATFORMS = ("cpu", "cuda", "tpu")


def lower(name: str, program: Program, params: ModelParams) -> export.Exported:
    """Lowers a program to StableHLO for `PLATFORMS`; the parameters are its first argument.

    Raises:
      UserError: jax cannot export it, such as a cell of the user's own with an operation of one platform.
    """
    shapes = jax.tree.map(lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), params)
    try:
        return export.export(jax.jit(program.run), platforms=PLATFORMS)(shapes, *program.arguments.values())
    except (NotImplementedError, TypeError, ValueError) as error:  # also the errors of symbolic sizes
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--mode=export: the program {name} cannot be lowered for {', '.join(PLATFORMS)}: {reason}"
        ) from error


def signature(exported: export.Exported, program: Program) -> tuple[str, str]:
    """Writes the arguments after the parameters, and the results, with types and shapes."""
    (_, *arguments), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    results = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return _listed(dict(zip(program.arguments, arguments, strict=True))), _listed(results)


def _listed(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in arrays.items())


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return value.str_short()
