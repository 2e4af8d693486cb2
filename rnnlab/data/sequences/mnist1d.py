"""MNIST-1D (Greydanus and Kobak 2024, arXiv 2011.14439): 4,000 and 1,000 sequences of 40 steps, made by the package
`mnist1d` with its default arguments."""

import functools
import random

import numpy as np

from rnnlab.data.sequences.examples import Examples, Request, Source
from rnnlab.extras import needs


def splits(_: list[Source]) -> set[str]:
    """Names the splits that there are."""
    return {"train", "test"}


def read(request: Request, _: list[Source]) -> Examples:
    """Makes a split.

    Raises:
      UserError: the package is not installed.
    """
    made = _make()
    ending = "_test" if request.split == "test" else ""
    inputs = made[f"x{ending}"].astype(np.float32)[:, :, None]
    classes = [str(one) for one in made[f"y{ending}"].tolist()]
    return Examples(list(inputs), classes, None, places=lambda i: f"mnist1d, {request.split} {i + 1}")


@functools.cache
def _make() -> dict:
    """Makes both splits; the package seeds the generators of the whole process, which are put back."""
    with needs("sequence", "config.data.name='mnist1d'"):
        from mnist1d.data import make_dataset
    before, numpy_before = random.getstate(), np.random.get_state()
    try:
        return make_dataset()
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
