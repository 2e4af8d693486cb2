"""Packages that only an extra of rnnlab installs: if one is missing, one line states what to install."""

import contextlib
from collections.abc import Iterator

from rnnlab.errors import UserError


@contextlib.contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Imports packages of an extra in its body.

    Args:
      extra: one of those in pyproject.toml.
      what: what needs them: a field and its value, or a command.

    Raises:
      UserError: a package is missing; names it and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "rnnlab"):
            raise
        raise UserError(
            f"{what} needs the package {missing} of the extra {extra!r}; in the source folder of rnnlab run "
            f"pip install '.[{extra}]'"
        ) from None
