"""The parts of an exported model that a task defines: its programs, and what their runner needs. Imports nothing."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Program(NamedTuple):
    """A function of a model to export.

    Attributes:
      run: `(params, *arguments) -> results`, where `results` is a dictionary of arrays, or of tuples of arrays.
      arguments: arrays with shapes and types instead of values, by name, or tuples of them. A symbolic size (`batch`)
        may be any number from 1 in a call.
      meaning: one sentence for the model card.
    """

    run: Callable[..., dict[str, Any]]
    arguments: dict[str, Any]
    meaning: str


class Exports(NamedTuple):
    """An exported model, except for its parameters.

    Attributes:
      programs: by name.
      runner: source file of `run.py`; it imports jax, numpy and `rnnlab/export/exported.py`, which lies beside it.
      files: the contents of the JSON files that the runner reads, by name.
      usage: input and output of the runner, in Markdown.
      digests: of the data of each split.
    """

    programs: Mapping[str, Program]
    runner: pathlib.Path
    files: Mapping[str, Any]
    usage: str
    digests: Mapping[str, str]


def plain(tree: Any) -> Any:
    """Converts the named tuples in a pytree of tuples to tuples, which jax can serialise."""
    return tuple(map(plain, tree)) if isinstance(tree, tuple) else tree


def array(dtype: Any, *shape: Any) -> jax.ShapeDtypeStruct:
    """Returns an argument of a program."""
    return jax.ShapeDtypeStruct(shape, dtype)
