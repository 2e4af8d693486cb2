import logging

import matplotlib.image
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from rnnlab import fonts
from rnnlab.pictures import drawable, letters, picture


@pytest.fixture
def only_default(monkeypatch):
    """As on a machine with no fonts but matplotlib's own."""
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(fonts, "_packaged", list)
    monkeypatch.setattr(fonts, "_found", {})
    caches = (fonts._family, fonts._installed, fonts._log_missing)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def square_font(tmp_path):
    """The file of a font with one letter of Korean, a filled square."""
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, 1000), (1000, 1000), (1000, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", "square"]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord("한"): "square"})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Square", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path := tmp_path / "square.ttf")
    return path


def _dark(path, text) -> int:
    """How many pixels of a picture of a text are dark."""
    with picture(path, 1, 1) as figure:
        figure.text(0.3, 0.3, text, fontsize=30)
    return int(np.sum(matplotlib.image.imread(path)[..., 0] < 0.5))


def test_a_letter_that_an_installed_font_has_is_drawn_with_it(only_default, square_font, tmp_path, monkeypatch):
    """With warnings as errors: none about a missing glyph."""
    monkeypatch.setattr(fonts, "_packaged", lambda: [square_font])
    assert drawable("한a") == "한a"
    assert fonts.families()[-1] == "Square"
    assert _dark(tmp_path / "a.png", "한") == pytest.approx((30 / 72 * 100) ** 2, rel=0.1)  # the area of the square
    assert drawable("글") == "U+AE00"


def test_a_letter_without_a_font_is_said_once_per_script_with_what_to_install(only_default, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    assert [drawable(text) for text in ("한", "국", "हि", "é")] == ["U+D55C", "U+AD6D", "U+0939 U+093F", "é"]
    messages = [record.getMessage() for record in caplog.records]
    assert ["HANGUL" in message for message in messages] == [True, False]
    assert "DEVANAGARI" in messages[1]
    assert all("pip install '.[fonts]'" in message and "fonts-noto" in message for message in messages)


def test_joiners_are_no_missing_letters():
    assert drawable("a\u200cb\u200d") == "a\u200cb\u200d"


def test_wide_letters_count_twice():
    assert [letters(text) for text in ("ab", "한국", "é", "")] == [2, 4, 1, 0]
