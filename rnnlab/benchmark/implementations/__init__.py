"""What the benchmark compares: a name, and how to build one case of it.

A module for ours and what jax itself offers, one for peers in jax, one for torch; each is imported only by the process
that measures it. "rnnlab" may be followed by how it runs: rnnlab/sqrt, rnnlab/block/all, rnnlab/newton/diagonal.
"""

import importlib
import re

# name: (module, function there that builds it, package that it needs)
_KNOWN = {
    "products": ("own", "products", "jax"),
    "rnnlab": ("own", "rnnlab", "jax"),
    "lax.scan": ("own", "plain", "jax"),
    "flax.linen": ("peers", "flax_linen", "flax"),
    "flax.nnx": ("peers", "flax_nnx", "flax"),
    "haiku": ("peers", "haiku", "haiku"),
    "equinox": ("peers", "equinox", "equinox"),
    "torch": ("torch_peer", "torch_layer", "torch"),
}
_WAYS = re.compile(
    r"sqrt|sequential|(step|block|apart)/(all|[1-9]\d*)|associative(/[1-9]\d*)?|newton(/full|/diagonal)?(/[1-9]\d*)?"
)
OURS = "rnnlab"
BOUND = "products"


class Unsupported(Exception):
    """An implementation has nothing to offer for this case; the message says why."""


def read_implementations(names: str) -> list[str]:
    """The implementations that a config names.

    Raises:
      ValueError: an unknown one.
    """
    found = list(dict.fromkeys(names.replace(",", " ").split()))
    for name in found:
        kind, _, how = name.partition("/")
        if name not in _KNOWN and (kind != OURS or not _WAYS.fullmatch(how)):
            raise ValueError(
                f"config.implementations: unknown {name!r}; allowed: {', '.join(_KNOWN)}, rnnlab/sqrt, "
                "rnnlab/sequential, rnnlab/step/N, rnnlab/block/N, rnnlab/apart/N with N steps a block or all, "
                "rnnlab/associative, rnnlab/associative/N, rnnlab/newton, rnnlab/newton/full, rnnlab/newton/diagonal, "
                "and these with /N"
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
    kind, *how = name.split("/")
    module, function, package = _KNOWN[kind]
    importlib.import_module(package)
    return getattr(importlib.import_module(f"{__name__}.{module}"), function)(case, *how)
