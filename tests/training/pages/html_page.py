"""A page as a browser reads it: its addresses, pictures, sections and marks."""

import base64
import pathlib
from html.parser import HTMLParser
from xml.etree import ElementTree

_ADDRESSES = ("src", "href", "srcset", "action", "data", "poster")


class Page(HTMLParser):
    """Attributes: addresses, of anything that a browser could request; pictures, decoded; tags; text by section."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.addresses, self.pictures, self.tags, self.rows = [], [], set(), []
        self.text: dict[str, str] = {}
        self._section = "start"
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in _ADDRESSES]
        self._section = given.get("id", self._section) if tag == "section" else self._section
        if tag == "tr":
            self.rows.append((self._section, []))
        if tag == "img":
            self.pictures.append(base64.b64decode(given["src"].partition("base64,")[2]))

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data
        if self.rows and self.lasttag in ("td", "th"):
            self.rows[-1][1].append(data)

    def check_alone(self) -> None:
        """Asserts that the page is whole without any request or script."""
        assert all(address.startswith(("data:", "#")) for address in self.addresses)
        assert not self.tags & {"script", "iframe", "object", "embed"}
        assert "url(" not in self.text["start"]  # of the style
        assert "@import" not in self.text["start"]
        for picture in self.pictures:
            if not picture.startswith(b"\x89PNG"):
                assert ElementTree.fromstring(picture).tag.endswith("svg")
