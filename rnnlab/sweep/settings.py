"""The settings of a sweep: the text of `--sweep`, read as a grid or as draws from a grid and from ranges.

Imports only `config` and `errors`.
"""

import copy
import itertools
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from rnnlab.config import field_paths, get_field, nearest_field
from rnnlab.errors import UserError

Values = dict[str, str]  # of the fields of one run
_RANGE = re.compile(r"(log|uniform):([^:]+):([^:]+)")
_DIGITS = 4  # of a number drawn from a range: it becomes part of a folder's name
_DRAWS = 1000  # for each new setting, before the sweep counts as exhausted


class Range(NamedTuple):
    """An interval to draw from.

    Attributes:
      low, high: its ends, both possible.
      log: whether the logarithm of a value is uniform, instead of the value.
      whole: whether only whole numbers are drawn.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def at(self, share: float) -> str:
        """Returns the value that has this share, from 0 to below 1, of the interval below it."""
        top = self.high + self.whole
        value = self.low * (top / self.low) ** share if self.log else self.low + (top - self.low) * share
        if self.whole:
            return str(min(int(value), int(self.high)))
        return str(min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high))


def read_sweep(text: str, config: ConfigDict, *, draws: int | None = None) -> list[Values]:
    """Lists the settings of a grid, the last field changing fastest; or draws different ones at random.

    Args:
      text: such as "model.encoder.cell=lstm,gru;seed=0,1,2"; for draws also ranges of numbers, such as
        "training.learning_rate=log:1e-4:1e-2" or "model.encoder.features=uniform:64:256".
      config: the config of all runs, which has the fields; its seed determines the draws.
      draws: their number; more draws with the same seed begin with the same ones.

    Raises:
      UserError: a field that is unknown or occurs twice, values of the wrong type or that occur twice, a range without
        draws, or fewer different settings than draws.
    """
    fields: dict[str, Sequence[str] | Range] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, values = (piece.strip() for piece in part.partition("="))
        known = [path for path in field_paths(config) if not isinstance(get_field(config, path), ConfigDict)]
        if name not in known:
            nearest = nearest_field(config, name)
            raise UserError(f"--sweep: {name!r} is not a field of the config; nearest: {nearest}")
        given = _read_range(name, values, config) or [value.strip() for value in values.split(",")]
        listed = [] if isinstance(given, Range) else given
        if name in fields or len(set(listed)) < len(listed) or "" in listed:
            raise UserError(
                f"--sweep: {part!r}: each field may occur once, each of its values once, and none may be empty"
            )
        for value in listed:
            typed(name, value, config)
        fields[name] = given
    if not fields:
        raise UserError(f"--sweep: {text!r} names no field; write it as field=value,value;field=value,value")
    return _grid(fields) if draws is None else _draw(fields, draws, config.seed)


def _read_range(name: str, text: str, config: ConfigDict) -> Range | None:
    found, kind = _RANGE.fullmatch(text), type(get_field(config, name))
    if found is None or kind not in (int, float):
        return None
    low, high = (typed(name, end, config) for end in found.groups()[1:])
    chosen = Range(low, high, found[1] == "log", kind is int)
    if not low < high or (chosen.log and low <= 0):
        raise UserError(f"--sweep: {name}={text!r}: a range needs low < high, and a log range 0 < low")
    return chosen


def typed(name: str, value: str, config: ConfigDict):
    """Returns a value in the type of its field.

    Raises:
      UserError: it is not of that type.
    """
    kind = type(get_field(config, name))
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (ValueError, KeyError):
        raise UserError(f"--sweep: {name}={value!r} is not of type {kind.__name__}") from None


def with_values(config: ConfigDict, values: Values) -> ConfigDict:
    """Returns a copy of a config with these values."""
    changed = copy.deepcopy(config)
    with changed.unlocked():
        changed.update_from_flattened_dict({name: typed(name, value, config) for name, value in values.items()})
    return changed


def _grid(fields: dict[str, Sequence[str] | Range]) -> list[Values]:
    lists = []
    for name, choices in fields.items():
        if isinstance(choices, Range):
            raise UserError(f"--sweep: {name} is a range, from which --sweep_random=n draws; a grid needs its values")
        lists.append(choices)
    return [dict(zip(fields, values, strict=True)) for values in itertools.product(*lists)]


def _draw(fields: dict[str, Sequence[str] | Range], number: int, seed: int) -> list[Values]:
    rng = random.Random(seed)
    drawn: dict[tuple[str, ...], None] = {}  # in order, each once
    for _ in range(_DRAWS * number):
        drawn.setdefault(tuple(_pick(choices, rng.random()) for choices in fields.values()))
        if len(drawn) == number:
            return [dict(zip(fields, values, strict=True)) for values in drawn]
    raise UserError(f"--sweep_random: {number} draws, but --sweep has only {len(drawn)} different settings")


def _pick(choices: Sequence[str] | Range, share: float) -> str:
    return choices.at(share) if isinstance(choices, Range) else choices[int(share * len(choices))]
