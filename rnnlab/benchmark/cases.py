"""The grid of a benchmark: its cases, from the config, and lower bounds of their cost."""

import dataclasses
import itertools
import math

import jax
from ml_collections import ConfigDict

from rnnlab.benchmark.ragged import LENGTHS, Batch, arrange, draw_lengths
from rnnlab.cells import Cell, find_cell
from rnnlab.config import NOT_NEGATIVE, POSITIVE, Fields, field, make_config, split_words
from rnnlab.tasks.fields import cells_field

DTYPES = ("float32", "bfloat16")
PASSES = ("forward", "training")


@dataclasses.dataclass(frozen=True)
class Case:
    """The work of a stack of `layers`: `length` steps of `batch` rows, `hidden` units with as many input features.

    `pass_` is "forward", or "training": forward, and the gradients of parameters and inputs. With `lengths` "text" it
    is eight batches of sequences of unequal lengths, at most `length`, which an implementation arranges in rows by its
    `arrangement` (`ragged.arrange`). Each of several `devices` has its own `batch` rows.
    """

    cell: str
    batch: int
    length: int
    hidden: int
    dtype: str
    pass_: str
    layers: int = 1
    lengths: str = "equal"
    arrangement: str = ""
    devices: int = 1

    @property
    def description(self) -> Cell:
        """The description of the cell."""
        return find_cell(self.cell)

    @property
    def is_ragged(self) -> bool:
        """Whether sequences are of unequal lengths."""
        return self.lengths != "equal"

    @property
    def batches(self) -> list[Batch]:
        """The batches, one run after the other."""
        if not self.is_ragged:
            return [Batch(self.length)]
        return arrange(draw_lengths(self.batch, self.length), self.batch, self.arrangement)

    @property
    def tokens(self) -> int:
        """Steps of all sequences, without padding."""
        return int(draw_lengths(self.batch, self.length).sum()) if self.is_ragged else self.batch * self.length

    @property
    def flops(self) -> int:
        """Floating-point operations of the products with W and R (dense, diagonal or in heads): two per weight and
        token, three times that for training."""
        sizes = self._parameters
        forward = 2 * self.tokens * self.layers * (sizes["W"] + sizes.get("R", 0))
        return forward * (3 if self.pass_ == "training" else 1)

    @property
    def bytes(self) -> int:
        """The minimum of bytes to move: inputs and outputs, parameters, and for training the gradients of all."""
        rows = 2 * self.tokens * self.hidden
        width = 2 if self.dtype == "bfloat16" else 4
        return (rows + self.layers * sum(self._parameters.values())) * width * (2 if self.pass_ == "training" else 1)

    @property
    def _parameters(self) -> dict[str, int]:
        """The sizes of the parameters of one layer."""
        made = jax.eval_shape(lambda: self.description.init(jax.random.key(0), self.hidden, self.hidden))
        return {name: math.prod(value.shape) for name, value in made.items()}


FIELDS: Fields = {  # lists are words separated by commas or blanks
    "experiment": field("benchmark", "the benchmark"),
    "implementations": field(
        "products,rnnlab,rnnlab/cores,lax.scan,flax.linen,flax.linen/cores,flax.nnx,torch,haiku,equinox",
        "implementations to compare; products: a lower bound",
    ),
    "cells": cells_field("rnn,gru,lstm"),
    "shapes": field(
        "32x64x256 64x256x256 64x128x512 1x1024x256 16x1024x128",
        "batch x length x hidden, or x layers; each may be a list: 8,16x64x256",
    ),
    "lengths": field("equal", f"of sequences, of {', '.join(LENGTHS)} (unequal, at most the length of the shape)"),
    "dtypes": field("float32", f"of {', '.join(DTYPES)}"),
    "passes": field("training", f"of {', '.join(PASSES)}"),
    "repeats": field(10, "rounds, in each of which every implementation runs once", POSITIVE),
    "seconds": field(20.0, "time after which no further round of a case starts", NOT_NEGATIVE),
    "memory_limit_gb": field(0.0, "of each process; 0 disables it", NOT_NEGATIVE),
}


def default_config() -> ConfigDict:
    """Makes the config of the 15 cases."""
    return make_config(FIELDS)


def read_cases(config: ConfigDict) -> list[Case]:
    """Parses the grid of a config.

    Raises:
      ValueError: an unknown name or an invalid shape; names the field and what is allowed.
    """
    cells = _cells(config)
    dtypes, passes = _names(config, "dtypes", DTYPES), _names(config, "passes", PASSES)
    kinds = _names(config, "lengths", LENGTHS)
    shapes = [shape for word in config.shapes.split() for shape in _read_shape(word)]
    if not shapes:
        raise ValueError("config.shapes: is empty; write shapes such as 32x64x256 (batch x length x hidden)")
    grid = itertools.product(kinds, passes, dtypes, cells, shapes)
    return [
        Case(cell, batch, length, hidden, dtype, pass_, layers, kind)
        for kind, pass_, dtype, cell, (batch, length, hidden, layers) in grid
    ]


def _cells(config: ConfigDict) -> list[str]:
    try:
        return [name for name in _words(config, "cells") if find_cell(name)]
    except ValueError as error:
        raise ValueError(f"config.cells: {error}") from None


def _names(config: ConfigDict, field: str, allowed: tuple[str, ...]) -> list[str]:
    names = _words(config, field)
    for name in names:
        if name not in allowed:
            raise ValueError(f"config.{field}: unknown {name!r}; allowed: {', '.join(allowed)}")
    return names


def _words(config: ConfigDict, field: str) -> list[str]:
    names = split_words(config[field])
    if not names:
        raise ValueError(f"config.{field}: is empty; it must name at least one")
    return list(dict.fromkeys(names))


def _read_shape(word: str) -> list[tuple[int, int, int, int]]:
    """Parses "8,16x64x128" as (8, 64, 128, 1) and (16, 64, 128, 1), with one layer by default."""
    parts = [part.split(",") for part in word.split("x")]
    if len(parts) not in (3, 4) or not all(n.isdecimal() and int(n) > 0 for part in parts for n in part):
        raise ValueError(
            f"config.shapes: {word!r} is not batch x length x hidden (x layers), such as 32x64x256 or 8,16x64x256x2"
        )
    batches, lengths, hidden, *layers = ([int(n) for n in part] for part in parts)
    return list(itertools.product(batches, lengths, hidden, layers[0] if layers else [1]))
