"""The implementations to compare: a name, and how to build one case of it.

One module for ours and plain jax, one for peers in jax, one for torch; each is imported only by the process that
measures it. "rnnlab" may be followed by a method (rnnlab/sqrt, rnnlab/block/all, rnnlab/newton/diagonal), every name by
a way to batch sequences of unequal lengths (rnnlab/packed, torch/buckets), and those in jax by "cores": the batch is
sharded over as many simulated devices as cores (rnnlab/cores, flax.nnx/cores).
"""

import dataclasses
import importlib
import os
import re
from typing import NamedTuple

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
    r"sqrt|sequential|pallas|unroll/[1-9]\d*|(step|block|apart|pull)/(all|[1-9]\d*)|associative(/[1-9]\d*)?|newton(/full|/diagonal)?(/[1-9]\d*)?"
)
OURS = "rnnlab"
BOUND = "products"
_CORES = "cores"
_UNDIVIDED = (BOUND, "torch")


class Unsupported(Exception):
    """An implementation does not support a case; the message states why."""


def status_of(error: Exception) -> str:
    """Returns the status of an implementation that could not be measured, on one line."""
    if isinstance(error, ImportError):
        return f"not installed: {error.name or error}"
    if isinstance(error, Unsupported):
        return f"not supported: {error}"
    return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def read_implementations(names: str) -> list[str]:
    """Parses the implementations of a config.

    Raises:
      ValueError: an unknown one.
    """
    found = list(dict.fromkeys(split_words(names)))
    for name in found:
        parts = _Parts.of(name)
        known = parts.kind in _KNOWN and (
            not parts.how or (parts.kind == OURS and _WAYS.fullmatch("/".join(parts.how)))
        )
        if not known or (parts.over_cores and parts.kind in _UNDIVIDED):
            raise ValueError(
                f"config.implementations: unknown {name!r}; allowed: {', '.join(_KNOWN)}, rnnlab/sqrt, "
                "rnnlab/sequential, rnnlab/pallas, rnnlab/step/N, rnnlab/block/N, rnnlab/apart/N, rnnlab/pull/N with N "
                "steps per block or all, rnnlab/unroll/N, "
                "rnnlab/associative, rnnlab/associative/N, rnnlab/newton, rnnlab/newton/full, rnnlab/newton/diagonal, "
                f"these with /N, each of all with /{', /'.join(ARRANGEMENTS)}, and those in jax with /{_CORES}"
            )
    if not found:
        raise ValueError(f"config.implementations: is empty; allowed: {', '.join(_KNOWN)}")
    return found


def build(name: str, case):
    """Returns the builder of `name` for a case: `JaxLayer`, or a class with the same methods.

    Raises:
      ImportError: the package is not installed.
      Unsupported: the implementation does not support the case.
    """
    kind, how, arrangement, over_cores = _Parts.of(name)
    if arrangement and not case.is_ragged:
        raise Unsupported(f"{arrangement!r} is for sequences of unequal lengths (config.lengths=text)")
    if arrangement == "packed" and kind not in (OURS, "lax.scan"):
        raise Unsupported("takes one sequence per row")
    module, function, package = _KNOWN[kind]
    importlib.import_module(package)
    if over_cores:
        case = _over_cores(case)
    builds = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return builds(dataclasses.replace(case, arrangement=arrangement), *how)


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Parts(NamedTuple):
    """The parts of a name."""

    kind: str
    how: list[str]
    arrangement: str
    over_cores: bool

    @classmethod
    def of(cls, name: str) -> "_Parts":
        kind, *how = name.split("/")
        over_cores = how[-1:] == [_CORES]
        how = how[:-1] if over_cores else how
        arrangement = how[-1] if how and how[-1] in ARRANGEMENTS else ""
        return cls(kind, how[:-1] if arrangement else how, arrangement, over_cores)


def _over_cores(case):
    """Returns the part of a case for each core; creates as many simulated devices, before jax has any."""
    import jax

    cores = count_cores()
    if case.is_ragged or case.batch % cores:
        raise Unsupported(f"shards only batches of sequences of equal lengths over {cores} cores")
    jax.config.update("jax_num_cpu_devices", cores)
    if jax.default_backend() != "cpu":
        raise Unsupported("is for a CPU")
    return dataclasses.replace(case, batch=case.batch // cores, devices=cores)
