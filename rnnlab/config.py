"""Fields of a config, one line each: default, meaning, allowed values; checks and printing use these.

Imports only `errors`.
"""

import copy
import csv
import difflib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FieldReference

from rnnlab.errors import UserError

_LARGEST_INTEGER = 2**31 - 1
_LARGEST, _SMALLEST = 1e30, 1e-30  # the range of float32, with room for a product


class Allowed(NamedTuple):
    """A condition on a value, and its text in a message: "it must be ..."."""

    text: str
    holds: Callable[[Any], bool]


POSITIVE = Allowed("above 0", lambda value: value > 0)
NOT_NEGATIVE = Allowed("0 or above", lambda value: value >= 0)
RATE = Allowed("from 0 to below 1", lambda value: 0 <= value < 1)
SHARE = Allowed("from 0 to 1", lambda value: 0 <= value <= 1)


def at_most(most: int) -> Allowed:
    """Returns the condition of an upper limit."""
    return Allowed(f"{most:,} at most", lambda value: value <= most)


class Field(NamedTuple):
    """A field of a config.

    Attributes:
      default: its value unless a config changes it; its type is the field's.
      meaning: its effect, in a few words.
      allowed: conditions on its value, in addition to those of `check_fields` on every value.
      own: whether it may name the user's own code, as `module:NAME`.
      names: lists the names in a value; by default the value is one name.
    """

    default: Any
    meaning: str = ""
    allowed: tuple[Allowed, ...] = ()
    own: bool = False
    names: Callable[[str], list[str]] = lambda value: [value]

    @property
    def initial(self) -> Any:
        """The value of `default`, also where that is a `FieldReference` (a field of several types)."""
        return self.default.get() if isinstance(self.default, FieldReference) else self.default


def field(default: Any, meaning: str, *allowed: Allowed, **others: Any) -> Field:
    """Describes a field; `others` are `own` and `names` of `Field`."""
    return Field(default, meaning, allowed, **others)


Fields = Mapping[str, Any]  # of `Field`s and of further `Fields`


def make_config(fields: Fields) -> ConfigDict:
    """Makes the config of all defaults; other fields cannot be added to it."""
    return ConfigDict(_defaults(fields)).lock()


def _defaults(fields: Fields) -> dict[str, Any]:
    return {
        name: copy.deepcopy(own.default) if isinstance(own, Field) else _defaults(own) for name, own in fields.items()
    }


def each_field(fields: Fields, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yields each field with its dotted path."""
    for name, own in fields.items():
        if isinstance(own, Field):
            yield f"{prefix}{name}", own
        else:
            yield from each_field(own, f"{prefix}{name}.")


def check_fields(config: ConfigDict, fields: Fields) -> None:
    """Refuses values that are not allowed; in every field also numbers that are not finite or outside the range of
    float32, and text that is not printable on one line.

    Raises:
      UserError: names the field, its value and what is allowed.
    """
    for path in field_paths(config):
        if (wanted := _wanted(get_field(config, path))) is not None:
            raise UserError(f"config.{path}: {_shown(get_field(config, path))} is not allowed; it must be {wanted}")
    for path, own in each_field(fields):
        for allowed in own.allowed:
            if not allowed.holds(get_field(config, path)):
                raise UserError(f"config.{path}: {get_field(config, path)} is not allowed; it must be {allowed.text}")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _wanted(value: Any) -> str | None:
    """Returns the condition on every value that this one violates, or None."""
    if isinstance(value, float) and not math.isfinite(value):
        return "finite"
    if isinstance(value, float) and value and not _SMALLEST <= abs(value) <= _LARGEST:
        return f"0 or from {_SMALLEST} to {_LARGEST} in size"
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return f"{_LARGEST_INTEGER:,} at most"
    if isinstance(value, str) and not value.isprintable():
        return "printable text on one line"
    return None


def show_fields(config: ConfigDict, fields: Fields) -> Iterator[str]:
    """Yields a line for each field: its path, its value in this config, its meaning and the allowed values."""
    lines = []
    for path, own in each_field(fields):
        rules = "; ".join(allowed.text for allowed in own.allowed)
        words = ", ".join(part for part in (own.meaning, rules) if part)
        lines.append((f"{path} = {get_field(config, path)!r}", words))
    width = min(max(len(left) for left, _ in lines), 48)
    for left, words in lines:
        yield f"{left:{width}}  {words}".rstrip()


def set_field(config: ConfigDict, path: str, value: Any) -> None:
    """Sets the value at a dotted path."""
    *parts, name = path.split(".")
    for part in parts:
        config = config[part]
    config[name] = value


def get_field(config: ConfigDict, path: str) -> Any:
    """Returns the value at a dotted path."""
    for name in path.split("."):
        config = config[name]
    return config


def nearest_field(config: ConfigDict, path: str) -> str:
    """Returns the dotted path of the field most like an unknown one; those with the same last name come first."""
    known = [known for known in field_paths(config) if not isinstance(get_field(config, known), ConfigDict)]
    same = [known for known in known if known.rpartition(".")[2] == path.rpartition(".")[2]]
    return difflib.get_close_matches(path, same or known, n=1, cutoff=0)[0]


def field_paths(config: ConfigDict, prefix: str = "") -> list[str]:
    """Lists the dotted paths of all fields, parts included."""
    paths = []
    for name, value in config.items():
        paths.append(f"{prefix}{name}")
        if isinstance(value, ConfigDict):
            paths += field_paths(value, f"{prefix}{name}.")
    return paths


def split_names(text: str) -> list[str]:
    """Splits a list of names at commas; names may contain blanks, and commas if they are in double quotes."""
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    return [name for row in rows for part in row if (name := part.strip())]


def join_names(names: Iterable[str]) -> str:
    """Writes the list that `split_names` splits into these names."""
    doubled = (name.replace('"', '""') for name in names)
    return ",".join(f'"{name}"' for name in doubled)


def split_words(text: str) -> list[str]:
    """Splits a list of words at commas and blanks."""
    return text.replace(",", " ").split()
