"""The data fields that readers of sequences read."""

from typing import Any

from ml_collections import ConfigDict


def data_config(name: str, **fields) -> ConfigDict:
    """`fields` by their paths, with two underscores for a dot: `files__train="a.csv"`."""
    data: dict[str, Any] = {
        "name": name,
        "files": {"train": "", "validation": "", "test": ""},
        "answer": "class",
        "columns": {"inputs": "", "answer": "", "sequence": "", "time": ""},
        "missing": "refuse",
        "tag_scheme": "",
        "directory": "",
        "test_every": 0,
        "permuted": 0,
        "chunk": 0,
    }
    for path, value in fields.items():
        part, _, own = path.rpartition("__")
        (data[part] if part else data)[own] = value
    return ConfigDict(data).lock()
