"""Refuses a name that is not among the allowed ones."""

from collections.abc import Iterable


def check_choice(what: str, value: str, allowed: Iterable[str]) -> str:
    """Returns `value` if it is among `allowed`.

    Raises:
      ValueError: names the field, the value and the allowed ones.
    """
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{what}: unknown value {value!r}; allowed: {', '.join(allowed)}")
    return value
