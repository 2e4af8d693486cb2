"""The machine: device, driver, versions, memory, and its limits."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence

import jax

from rnnlab.benchmark.accelerator.records import OK, Case, Row
from rnnlab.benchmark.limits import measure_limits

_PACKAGES = ("jax", "jaxlib", "jax-cuda13-plugin", "libtpu", "flax", "optax", "numpy", "torch", "nvidia-cudnn-cu13")
# float32 products use float32 only with "highest"; by default a GPU uses TF32, a TPU bfloat16
_PRODUCTS = (("float32", "default"), ("bfloat16", "default"), ("float32", "highest"))


def cases(tiny: bool) -> list[Case]:
    """Lists the machine itself, then its limits by dtype and precision."""
    sizes = {"side": 64, "numbers": 2**12, "steps": 64} if tiny else {"side": 8192, "numbers": 2**28, "steps": 10_000}
    return [{"what": "machine"}, *({"what": "limits", "dtype": d, "precision": p, **sizes} for d, p in _PRODUCTS)]


def measure(given: Sequence[Case], settled: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """Measures as described in `Part.measure`."""
    for case in given:
        if case["what"] == "machine":
            yield case, _machine()
        else:
            yield case, measure_limits(**{name: value for name, value in case.items() if name != "what"})


def limits_of(rows: Mapping[str, Row], dtype: str) -> Row:
    """Returns the limits of a dtype at default precision; measures them once per process if no row has them."""
    for row in rows.values():
        case = row["case"]
        if row["status"] == OK and (case.get("dtype"), case.get("precision")) == (dtype, "default"):
            return row
    return _limits_now(dtype)


@functools.cache
def _limits_now(dtype: str) -> Row:
    return measure_limits(dtype)


def _machine() -> Row:
    device = jax.devices()[0]
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "device": device.device_kind,
        "platform": jax.default_backend(),
        "devices": jax.device_count(),
        "memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
        "driver": _driver(),
        "host": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _driver() -> str:
    """Returns the version of NVIDIA's driver; empty without one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""
