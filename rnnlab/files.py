"""Files that are whole or not there. Imports nothing from the rest of rnnlab."""

import os
import pathlib


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
