"""Pictures in a work directory: a failure to draw one is only a warning.

Imports only `fonts` from rnnlab, and matplotlib only when it draws.
"""

import contextlib
import io
import logging
import pathlib
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rnnlab.fonts import families, has_font

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
_PANEL = (4.6, 3.2)  # inches
_LARGEST = 25.0  # inches of a side, 2,500 pixels
_JOINERS = "\u200c\u200d"  # invisible: they join letters of Arabic and Devanagari, or separate them


@contextlib.contextmanager
def picture(path: pathlib.Path, width: float, height: float) -> Iterator["Figure"]:
    """Yields a figure of `width` by `height` inches, up to the size limit, and saves it as `path`.

    Texts are drawn literally: `$` does not start a formula. Fonts are those of the texts that `drawable` has seen.
    """
    with _figure(width, height) as figure:
        yield figure
        figure.savefig(path, dpi=_DPI)


def draw_svg(draw: Callable[["Figure"], None], width: float, height: float) -> bytes:
    """Returns a figure of `width` by `height` inches, on which `draw` has drawn, as an SVG; texts as in `picture`."""
    file = io.BytesIO()
    with _figure(width, height) as figure:
        draw(figure)
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def drawn(caption: str, draw: Callable[..., None], *given: Any) -> list[tuple[str, bytes]]:
    """Returns the caption and the SVG of what `draw` draws on axes from `given`; nothing, and logs it, if it fails."""
    with survived(pathlib.Path(caption)):
        return [(caption, draw_svg(lambda figure: draw(figure.subplots(), *given), *_PANEL))]
    return []


@contextlib.contextmanager
def _figure(width: float, height: float) -> Iterator["Figure"]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False, "font.family": families()}):
        yield Figure(figsize=(min(width, _LARGEST), min(height, _LARGEST)), layout="tight")


@contextlib.contextmanager
def survived(path: pathlib.Path) -> Iterator[None]:
    """Logs any failure to draw the picture `path` in its body, and suppresses it."""
    try:
        yield
    except Exception as error:  # matplotlib, its fonts, its writers and the disk each raise their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        logging.getLogger("rnnlab").warning("%s could not be drawn (%s)", path, reason)


def drawable(text: str, *, longest: int = 24) -> str:
    """Returns a text on one line, cut to `longest` characters, or its code points if one of them cannot be drawn.

    To be called before `picture`, which then uses fonts that have the letters of the text.
    """
    shown = text[:longest]
    printable = all(character.isprintable() or character in _JOINERS for character in text)
    if not (printable and all(character in _JOINERS or has_font(character) for character in shown)):
        text = " ".join(f"U+{ord(character):04X}" for character in shown)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def letters(text: str) -> int:
    """Returns the width of a text in letters; those of Chinese, Japanese and Korean are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
