"""Pictures in a work directory: a failure to draw one is only a warning.

Imports nothing from rnnlab, and matplotlib only when it draws.
"""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
_LARGEST = 25.0  # inches of a side, 2,500 pixels
_LONGEST = 24  # characters of a label


@contextlib.contextmanager
def picture(path: pathlib.Path, width: float, height: float) -> Iterator["Figure"]:
    """Yields a figure of `width` by `height` inches, up to the size limit, and saves it as `path`.

    Texts are drawn literally: `$` does not start a formula.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(min(width, _LARGEST), min(height, _LARGEST)), layout="tight")
        yield figure
        figure.savefig(path, dpi=_DPI)


@contextlib.contextmanager
def survived(path: pathlib.Path) -> Iterator[None]:
    """Logs any failure to draw the picture `path` in its body, and suppresses it."""
    try:
        yield
    except Exception as error:  # matplotlib, its fonts, its writers and the disk each raise their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        logging.getLogger("rnnlab").warning("%s could not be drawn (%s)", path, reason)


def drawable(text: str) -> str:
    """Returns a text on one line, truncated if long, or its code points if one of them cannot be drawn."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("sans"))
    if not (text.isprintable() and all(font.get_char_index(ord(character)) for character in text[:_LONGEST])):
        text = " ".join(f"U+{ord(character):04X}" for character in text[:_LONGEST])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
