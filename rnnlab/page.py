"""Self-contained HTML pages: one file with its style and pictures, which needs no script and requests nothing.

Imports nothing from rnnlab. All texts are escaped here, except those called `body` and those of class `Html`.
"""

import base64
import html
from collections.abc import Iterable, Sequence

_PNG = b"\x89PNG"
_WIDE = 700  # pixels
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem; color: #1b1b1b; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
h1, h2, p, td, summary, figcaption { overflow-wrap: anywhere; } td { min-width: 4.6rem; }
td:first-child { overflow-wrap: normal; }
img { width: 100%; height: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
summary { cursor: pointer; margin: 1rem 0 .5rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f5; padding: .6rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { display: block; width: auto; max-width: 100%; margin: 0 auto; }
figcaption { font-size: .9rem; text-align: center; }
figure.alone { grid-column: 1 / -1; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.right td:first-child { color: #1a7f37; font-weight: 600; } .wrong td:first-child { color: #b3261e; font-weight: 600; }
.missing { color: #7a4b00; background: #fff6e5; padding: .4rem .6rem; }
.verdict { font-weight: 600; white-space: nowrap; }
.best { font-weight: 600; background: #eef5ff; }
@media (max-width: 40rem) {
  .verdict { white-space: normal; } th, td { padding: .3rem .3rem; } td:first-child { overflow-wrap: anywhere; }
}
"""


class Html(str):
    """A text that is HTML already, such as a link in a table."""


def link(text: str, target: str) -> Html:
    """Returns a link to a file beside the page, or to a `#name` in it."""
    return Html(f'<a href="{html.escape(target)}">{html.escape(text)}</a>')


def page(title: str, body: str) -> str:
    """Returns a whole page below its title."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}"
        "</body></html>\n"
    )
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair cannot be written


def section(title: str, body: str, *, name: str) -> str:
    """Returns a section below its heading; a link reaches it by `#name`."""
    return f'<section id="{html.escape(name)}"><h2>{html.escape(title)}</h2>{body}</section>'


def paragraph(text: str, *, style: str = "") -> str:
    """Returns a paragraph; `style` is a class of the style sheet."""
    return f"<p{_styled(style)}>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    """Returns a text with its line breaks."""
    return f"<pre>{html.escape(text)}</pre>"


def details(summary: str, body: str) -> str:
    """Returns a part that is folded until its summary is clicked."""
    return f"<details><summary>{html.escape(summary)}</summary>{body}</details>"


def table(
    head: Sequence[str], rows: Sequence[Iterable[str]], *, styles: Sequence[str] = (), row_styles: Sequence[str] = ()
) -> str:
    """Returns a table, which scrolls by itself where it is wider than the page.

    Args:
      head: the titles of the columns.
      rows: the cells of each row.
      styles: a class of the style sheet for each column; row_styles: for each row; by default none.
    """
    styles = styles or [""] * len(head)
    lines = [_row("th", head, styles)]
    for row, style in zip(rows, row_styles or [""] * len(rows), strict=True):
        lines.append(_row("td", row, styles, style))
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _row(kind: str, cells: Iterable[str], styles: Sequence[str], style: str = "") -> str:
    parts = (
        f"<{kind}{_styled(own)}>{cell if isinstance(cell, Html) else html.escape(cell)}</{kind}>"
        for cell, own in zip(cells, styles, strict=True)
    )
    return f"<tr{_styled(style)}>{''.join(parts)}</tr>"


def image(data: bytes, alt: str) -> str:
    """Returns a picture: the bytes of a PNG or an SVG."""
    kind = "png" if data.startswith(_PNG) else "svg+xml"
    return f'<img alt="{html.escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def figures(captioned: Iterable[tuple[str, bytes]]) -> str:
    """Returns pictures with their captions, side by side where the page is wide enough; wide PNGs are alone."""
    parts = (
        f"<figure{_styled('alone' if _png_width(data) > _WIDE else '')}>{image(data, text)}"
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
        for text, data in captioned
    )
    return f'<div class="figures">{"".join(parts)}</div>'


def _png_width(data: bytes) -> int:
    """Returns the pixels of a row of a PNG, from its header; 0 for an SVG."""
    return int.from_bytes(data[16:20]) if data.startswith(_PNG) else 0


def _styled(style: str) -> str:
    return f' class="{style}"' if style else ""
