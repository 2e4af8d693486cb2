"""Config fields shared by tasks and labs. Imports only `config` and `errors`."""

import ast

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, Allowed, Field, Fields, at_most, field, split_words
from rnnlab.errors import UserError

_CELL = "of rnnlab.CELLS, lstm/diagonal, lstm/heads4, lstm/none, or file.py:NAME"

STACK: Fields = {
    "cell": field("lstm", _CELL, own=True),
    "features": field(128, "of each direction", POSITIVE),
    "layers": field(1, "recurrent layers", POSITIVE, at_most(100)),  # each is traced and compiled separately
    "block": field("plain", "around each layer: plain, residual, or prenorm (norm, layer, gated linear unit, dropout)"),
    "norm": field("layer", "of prenorm blocks: layer or batch"),
    "sizes": field("", "features of each layer, separated by commas; empty: features in each"),
    "dropout": field(0.0, "rate on embeddings and between layers, or on the update of a prenorm block", RATE),
    "variational": field(False, "draws these masks once for all steps (Gal and Ghahramani 2016)"),
    "recurrent_dropout": field(0.0, "rate on h where it enters h R, drawn once for all steps (the same)", RATE),
    "weight_drop": field(0.0, "rate on the entries of R (Merity et al. 2018)", RATE),
    "zoneout": field(0.0, "rate of units of h that keep their value at a step (Krueger et al. 2017)", RATE),
    "zoneout_cell": field(0.0, "the same for the other entries of the state", RATE),
    "initial_state": field("zero", "zero or learnt"),
    "method": field(
        "auto", "of the scan: auto, sequential, associative (linear cells), newton, pallas (fused kernels), reference"
    ),
}
"""The fields of `rnnlab.models.Stack`."""

DTYPE = field("float32", "of products and of what the backward pass stores: float32 or bfloat16; all else is float32")
"""The field of `rnnlab.models.compute_in`."""

SAMPLING: Fields = {
    "temperature": field(0.0, "predict: above 0 samples beam_size outputs instead of searching", NOT_NEGATIVE),
    "top_k": field(0, "predict: samples only from the k most likely tokens; 0 disables it", NOT_NEGATIVE),
    "top_p": field(
        1.0, "predict: and from the fewest tokens with this share", Allowed("in (0, 1]", lambda p: 0 < p <= 1)
    ),
}
"""The fields of `rnnlab.search.sample`."""


def check_sampling(evaluation: ConfigDict) -> None:
    """Refuses `top_k` and `top_p` without sampling.

    Raises:
      UserError: names the field.
    """
    for name, whole in (("top_k", 0), ("top_p", 1.0)):
        if evaluation[name] != whole and not evaluation.temperature:
            raise UserError(
                f"config.evaluation.{name}: {evaluation[name]!r} has no effect without sampling; set "
                "config.evaluation.temperature, too (1 samples from the model's distribution)"
            )


def experiment_field(default: str) -> Field:
    """Describes the name of a task."""
    return field(default, "the task: a name of rnnlab.tasks.TASKS, or file.py:NAME", own=True)


def cells_field(default: str, *, also: str = "") -> Field:
    """Describes a list of cells, separated by commas or blanks; `also` is also allowed."""
    return field(default, f"{also}, or {_CELL}" if also else _CELL, own=True, names=split_words)


def problem_field(default: str) -> Field:
    """Describes a problem with a known lag, and its options."""
    meaning = "of rnnlab.data.lag_problems.LAG_PROBLEMS or file.py:NAME, with options: wave:period=10"
    return field(default, meaning, own=True, names=split_words)


class _NamesParser(flags.ArgumentParser):
    """Parses a text, or the list in it: ['a,b.de', 'c.en']."""

    def parse(self, argument):
        if isinstance(argument, str) and argument.startswith(("[", "(")):
            try:
                argument = ast.literal_eval(argument)
            except (SyntaxError, ValueError):  # a name that starts like a list
                return argument
        return argument


class _TextOrList(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str | list | tuple)


@config_flags.register_flag_parser(parser=_NamesParser())
class _Names(metaclass=_TextOrList):
    """The type of a field of file names: one text, or a list of them."""


def file_names_field(meaning: str) -> Field:
    """Describes file names: one text, or a list of names."""
    return field(FieldReference("", field_type=_Names), meaning)
