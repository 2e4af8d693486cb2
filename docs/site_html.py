"""Changes the HTML of the site's pages: captions for pictures, and lists for the arguments in docstrings."""

import re
from typing import Any

_PICTURE = re.compile(r'<p>(<img alt="([^"]+)"[^>]*>)</p>')
_ARGUMENTS = re.compile(
    r'(<details class="(?:main|other)-(?:arguments|attributes)"[^>]*>\s*<summary>[^<]*</summary>\s*)<p>(.*?)</p>', re.S
)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Returns a page whose pictures (except a notebook's) have their alternative text as a caption, and whose arguments
    are lists."""
    if not page.file.src_uri.startswith("notebooks/"):
        html = _PICTURE.sub(r"<figure>\1<figcaption>\2</figcaption></figure>", html)
    return _ARGUMENTS.sub(lambda found: f"{found[1]}<ul>{_items(found[2])}</ul>", html)


def _items(text: str) -> str:
    """Returns a list item for each line `name: meaning` that is not indented; indented lines continue it."""
    pairs = (item.partition(": ") for item in re.split(r"\n(?! )", text))
    return "".join(f"<li><code>{name}</code>: {meaning}</li>" for name, _, meaning in pairs)
