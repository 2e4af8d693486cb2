"""Rules that say how parameters are split over the axes of a mesh: `training.sharding`."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rnnlab.errors import UserError

AXES = ("data", "model")
# R stays whole: every step of a loop would exchange what is split.
DEFAULT_RULES = "output/kernel$=-,model (embedding|kernel|W)$=model,-:gather"
_WHOLE, _GATHERED = "-", ":gather"
_WHERE = "config.training.sharding"


class Rule(NamedTuple):
    """How parameters are split whose name contains a match of `pattern`.

    Attributes:
      text: as written in the config.
      pattern: a regular expression.
      axes: the mesh axis that each axis of the parameter is split over; None, and any axis beyond them: not split.
      gathered: whether a step gathers the parameter before its loops; otherwise its products are split, too.
    """

    text: str
    pattern: re.Pattern[str]
    axes: tuple[str | None, ...]
    gathered: bool

    def split(self, shape: tuple[int, ...], mesh: Mapping[str, int]) -> list[str | None]:
        """Returns for each axis of a parameter the axis of the mesh that it is split over; None: it stays whole, as one
        does that is not divisible by the devices along that axis of the mesh."""
        axes = itertools.zip_longest(self.axes[: len(shape)], shape)
        return [axis if axis and size % mesh[axis] == 0 else None for axis, size in axes]


def parse_rules(text: str) -> list[Rule]:
    """Reads rules separated by blanks, `pattern=axis,axis` or `pattern=axis,axis:gather`; `-` is an axis not split.

    Raises:
      UserError: quotes the rule, and what is allowed.
    """
    return [_parse_rule(word) for word in text.split()]


def _parse_rule(word: str) -> Rule:
    pattern, equals, given = word.rpartition("=")
    if not (pattern and equals):
        raise UserError(f"{_WHERE}: {word!r} is not a rule; write pattern=axis,axis or pattern=axis,axis{_GATHERED}")
    axes = given.removesuffix(_GATHERED).split(",")
    for axis in axes:
        if axis not in (*AXES, _WHOLE):
            allowed = f"{', '.join(AXES)}, and {_WHOLE} for an axis that is not split"
            raise UserError(f"{_WHERE}: unknown axis {axis!r} in {word!r}; allowed: {allowed}")
    if any(axes.count(axis) > 1 for axis in AXES):
        raise UserError(f"{_WHERE}: {word!r} splits two axes of a parameter over the same axis of the mesh")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{_WHERE}: {pattern!r} is not a regular expression ({error})") from None
    return Rule(word, compiled, tuple(None if axis == _WHOLE else axis for axis in axes), given.endswith(_GATHERED))


def find_rule(rules: Iterable[Rule], name: str) -> Rule | None:
    """Returns the first rule that matches the name of a parameter; None: it stays whole."""
    return next((rule for rule in rules if rule.pattern.search(name)), None)


def check_rules(rules: Iterable[Rule], names: Iterable[str]) -> None:
    """Refuses a rule that matches none of a model's parameters.

    Raises:
      UserError: quotes the rule.
    """
    known = list(names)
    for rule in rules:
        if not any(rule.pattern.search(name) for name in known):
            raise UserError(f"{_WHERE}: {rule.text!r} matches no parameter; there are {', '.join(known)}")
