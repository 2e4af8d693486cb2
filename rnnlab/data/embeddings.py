"""Pretrained embeddings in text files: a token and its numbers on each line (GloVe; word2vec's text format)."""

import pathlib
from collections.abc import Mapping

import numpy as np

from rnnlab.errors import UserError


def read_embeddings(path: str, ids: Mapping[str, int], size: int) -> dict[int, np.ndarray]:
    """Reads the embeddings of the tokens in `ids`, by their id; the first one if a token occurs twice.

    A first line of two numbers is word2vec's header: the number of tokens, and their size.

    Raises:
      UserError: no such file, or a line without `size` numbers after its token.
    """
    found: dict[int, np.ndarray] = {}
    try:
        with pathlib.Path(path).open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                token, *values = line.rstrip("\n").rsplit(" ", maxsplit=size)
                if number == 1 and len(line.split()) == 2 and size != 1:
                    continue
                if token in ids and ids[token] not in found:
                    found[ids[token]] = _numbers(path, number, values, size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return found


def _numbers(path: str, line: int, values: list[str], size: int) -> np.ndarray:
    try:
        numbers = np.array([float(value) for value in values], np.float32)
    except ValueError:
        numbers = np.zeros(0, np.float32)
    if len(numbers) != size or not np.isfinite(numbers).all():
        raise UserError(f"{path}, line {line}: must have {size} finite numbers after its token")
    return numbers
