"""Fonts for letters that matplotlib's own font lacks: Korean, Chinese, Devanagari and other scripts.

A font is found among those of the system and of the packages of the extra `fonts`. Imports nothing from rnnlab, and
matplotlib only when it is called. matplotlib 3.11 and newer also joins the letters of Arabic and Devanagari.
"""

import functools
import importlib.util
import logging
import pathlib
import unicodedata
from typing import Any, NamedTuple

_PACKAGES = ("manimgx_fonts", "noto_cjk_sans_otc")  # of the extra `fonts`: files with Noto fonts, and no code
_PREFERRED = ("Noto Sans CJK SC", "Noto Sans")  # starts of names, before all other fonts
_BLOCK = 256  # characters; of each font is recorded in which blocks it has any
_REGULAR = range(300, 501)  # weights
_UNUSABLE = ("Last Resort", "Adobe Blank")  # they draw a box, or nothing, for every character


class _Font(NamedTuple):
    """A font beside the default one: its family, file, number within the file, and blocks of characters."""

    family: str
    path: str
    face: int
    blocks: frozenset[int] = frozenset()


def has_font(character: str) -> bool:
    """Returns whether a character can be drawn; if not, logs once per script what to install."""
    if _family(character) is not None:
        return True
    _log_missing(unicodedata.name(character, "unnamed").split()[0])
    return False


def families() -> list[str]:
    """Returns the families for `font.family`: the default one, then those that `has_font` has found so far."""
    import matplotlib

    return [*matplotlib.rcParams["font.family"], *_found]


_found: dict[str, None] = {}  # families, in the order of their discovery


@functools.cache
def _family(character: str) -> str | None:
    """Returns the family that draws a character: "" for the default one, None if there is none."""
    from matplotlib import font_manager

    number = ord(character)
    if font_manager.get_font(font_manager.findfont("sans")).get_char_index(number):
        return ""
    for font in _installed():
        if number // _BLOCK in font.blocks and _open(font).get_char_index(number):
            _found[font.family] = None
            return font.family
    return None


@functools.cache
def _installed() -> list[_Font]:
    """Lists the upright fonts of regular weight, the preferred ones first."""
    from matplotlib import font_manager

    for path in _packaged():
        font_manager.fontManager.addfont(path)
    entries: dict[str, Any] = {}
    for entry in font_manager.fontManager.ttflist:
        regular = entry.style == "normal" and entry.weight in _REGULAR
        if regular and not entry.name.startswith(_UNUSABLE):
            entries.setdefault(entry.name, entry)
    fonts = []
    for name in sorted(entries, key=lambda name: (*(not name.startswith(start) for start in _PREFERRED), name)):
        font = _Font(name, entries[name].fname, getattr(entries[name], "index", 0))
        try:
            blocks = frozenset(number // _BLOCK for number in _open(font).get_charmap())
        except (OSError, RuntimeError):  # a format that FreeType does not read
            continue
        fonts.append(font._replace(blocks=blocks))
    return fonts


def _open(font: _Font) -> Any:
    from matplotlib import ft2font

    which: dict[str, Any] = {"face_index": font.face} if font.face else {}  # before matplotlib 3.11 only the first
    return ft2font.FT2Font(font.path, **which)


def _packaged() -> list[pathlib.Path]:
    """Lists the files of the installed packages of fonts."""
    specs = (importlib.util.find_spec(name) for name in _PACKAGES)
    folders = [pathlib.Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]
    return sorted(path for folder in folders for path in folder.glob("*.tt[cf]"))


@functools.cache
def _log_missing(script: str) -> None:
    logging.getLogger("rnnlab").warning(
        "no installed font has these letters (%s): pictures show their code points; install fonts by "
        "pip install '.[fonts]' in the source folder of rnnlab, or Noto fonts of the system "
        "(Debian: apt install fonts-noto)",
        script,
    )
