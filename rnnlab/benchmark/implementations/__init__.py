"""What the benchmark compares: a name, and how to build one case of it.

A module for ours and what jax itself offers, one for peers in jax, one for torch; each is imported only by the process
that measures it. "rnnlab" may be followed by how it runs (rnnlab/sqrt, rnnlab/block/all, rnnlab/newton/diagonal), and
every name by how sequences of unequal lengths are put into batches (rnnlab/packed, torch/buckets).
"""

import dataclasses
import importlib
import re

from rnnlab.benchmark.ragged import ARRANGEMENTS
from rnnlab.config import split_words

# name: (module, function there that builds it, package that it needs)
_KNOWN = {
    "products": ("own", "products", "jax"),
    "rnnlab": ("own", "rnnlab", "jax"),
    "lax.scan": ("own", "plain", "jax"),
    "flax.linen": ("peers", "flax_linen", "flax"),
    "flax.nnx": ("peers", "flax_nnx", "flax"),
    "jax.experimental.rnn": ("peers", "jax_cudnn", "jax"),
    "haiku": ("peers", "haiku", "haiku"),
    "equinox": ("peers", "equinox", "equinox"),
    "torch": ("torch_peer", "torch_layer", "torch"),
}
_WAYS = re.compile(
    r"sqrt|sequential|unroll/[1-9]\d*|(step|block|apart|pull)/(all|[1-9]\d*)|associative(/[1-9]\d*)?|newton(/full|/diagonal)?(/[1-9]\d*)?"
)
OURS = "rnnlab"
BOUND = "products"


class Unsupported(Exception):
    """An implementation has nothing to offer for this case; the message says why."""


def status_of(error: Exception) -> str:
    """What a row says of an implementation that could not be measured, on one line."""
    if isinstance(error, ImportError):
        return f"not installed: {error.name or error}"
    if isinstance(error, Unsupported):
        return f"not supported: {error}"
    return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def read_implementations(names: str) -> list[str]:
    """The implementations that a config names.

    Raises:
      ValueError: an unknown one.
    """
    found = list(dict.fromkeys(split_words(names)))
    for name in found:
        kind, *how = _without_arrangement(name)
        if kind not in _KNOWN or (how and (kind != OURS or not _WAYS.fullmatch("/".join(how)))):
            raise ValueError(
                f"config.implementations: unknown {name!r}; allowed: {', '.join(_KNOWN)}, rnnlab/sqrt, "
                "rnnlab/sequential, rnnlab/step/N, rnnlab/block/N, rnnlab/apart/N, rnnlab/pull/N with N steps a block "
                "or all, rnnlab/unroll/N, "
                "rnnlab/associative, rnnlab/associative/N, rnnlab/newton, rnnlab/newton/full, rnnlab/newton/diagonal, "
                f"these with /N, and each of all with /{', /'.join(ARRANGEMENTS)}"
            )
    if not found:
        raise ValueError(f"config.implementations: is empty; allowed: {', '.join(_KNOWN)}")
    return found


def build(name: str, case):
    """Whatever builds `name` for a case: `JaxLayer`, or something with the same methods.

    Raises:
      ImportError: the package is not installed.
      Unsupported: this implementation has no such case.
    """
    kind, *how = _without_arrangement(name)
    arrangement = name.rpartition("/")[2] if name.count("/") > len(how) else ""
    if arrangement and not case.is_ragged:
        raise Unsupported(f"{arrangement!r} is for sequences of unequal lengths (config.lengths=text)")
    if arrangement == "packed" and kind not in (OURS, "lax.scan"):
        raise Unsupported("takes one sequence a row")
    module, function, package = _KNOWN[kind]
    importlib.import_module(package)
    builds = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return builds(dataclasses.replace(case, arrangement=arrangement), *how)


def _without_arrangement(name: str) -> list[str]:
    parts = name.split("/")
    return parts[:-1] if parts[-1] in ARRANGEMENTS else parts
