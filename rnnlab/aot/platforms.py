"""The accelerators that programs can be compiled for, described without one; `h100.txtpb` is openxla's description."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

import jax
from jax.experimental import topologies
from jax.sharding import AbstractMesh, AxisType, Mesh

from rnnlab.errors import UserError
from rnnlab.extras import needs

_HERE = pathlib.Path(__file__).parent
_TPU_SHAPES = ((2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))  # of v5e, in chips


class Platform(NamedTuple):
    """A kind of accelerator.

    Attributes:
      backend: jax's name of it: "gpu" or "tpu".
      lowering: the name of the platform that programs are lowered for.
      devices: makes so many devices that can only be compiled for.
      options: the compiler's options.
    """

    backend: str
    lowering: str
    devices: Callable[[int], list[Any]]
    options: Callable[[], Mapping[str, Any]]


class Target(NamedTuple):
    """Devices to compile for: their platform, and a mesh with the axes `data` and `model`."""

    platform: Platform
    mesh: Mesh | AbstractMesh


def find_target(name: str, mesh: tuple[int, int] = (1, 1)) -> Target:
    """Returns the devices of a platform, arranged in a mesh.

    Args:
      name: one of `PLATFORMS`.
      mesh: devices along `data` and along `model`.

    Raises:
      UserError: an unknown platform, a mesh that it does not have, or packages that are not installed; or the process
        has used jax without JAX_PLATFORMS=cpu, so that NVIDIA's plugin has looked for a card in vain.
    """
    if name not in PLATFORMS:
        raise UserError(f"--platform: unknown {name!r}; allowed: {', '.join(PLATFORMS)}")
    platform, number = PLATFORMS[name], mesh[0] * mesh[1]
    try:
        with needs("aot", f"--platform={name}"):
            devices = platform.devices(number)[:number]
    except NotImplementedError:  # jax looked for a card when it started
        raise UserError(f"--platform={name}: its plugin needs a card in this process; set JAX_PLATFORMS=cpu") from None
    kinds = (AxisType.Auto, AxisType.Auto)
    return Target(platform, jax.make_mesh(mesh, ("data", "model"), axis_types=kinds, devices=devices))


@contextlib.contextmanager
def without_a_device() -> Iterator[None]:
    """Lets jax compile for devices that are not there.

    Without it jax refuses the name "gpu" where no card is visible (jax issues 23971 and 28376), and warns that such
    programs cannot be read from a cache; and libtpu ends the process at a flag for CPUs that it does not know.
    """
    from jax._src import compilation_cache, xla_bridge

    real = xla_bridge.canonicalize_platform

    def canonicalize(platform: str) -> str:
        return "cuda" if platform in ("gpu", "cuda") else real(platform)

    with (
        mock.patch.object(xla_bridge, "canonicalize_platform", canonicalize),
        mock.patch.object(compilation_cache, "is_cache_used", return_value=False),
        mock.patch.dict(os.environ),
    ):
        os.environ.pop("XLA_FLAGS", None)  # libtpu ends a process with flags that it does not know, such as a CPU's
        yield


@functools.cache
def _h100(number: int) -> list[Any]:
    import jax_cuda13_plugin

    del jax_cuda13_plugin
    description = (_HERE / "h100.txtpb").read_text()
    with without_a_device():
        found = topologies.get_topology_desc(
            platform="cuda", topology_name="h100", topology=f"1x1x{number}", target_config=description
        )
    return list(found.devices)


def cuda_folder() -> pathlib.Path:
    """Returns the folder of the wheels with NVIDIA's compiler."""
    import nvidia.cu13

    return pathlib.Path(next(iter(nvidia.cu13.__path__)))


def _h100_options() -> dict[str, Any]:
    # autotuning needs a card; without it the compiler takes cuBLAS for products, so that counts are upper bounds
    return {
        "xla_gpu_autotune_level": 0,
        "xla_gpu_cuda_data_dir": str(cuda_folder()),
        "xla_gpu_enable_triton_gemm": False,
    }


@functools.cache
def _v5e(number: int) -> list[Any]:
    import libtpu

    del libtpu
    fitting = (shape for shape in _TPU_SHAPES if shape[0] * shape[1] >= number)
    if (shape := next(fitting, None)) is None:
        raise UserError(f"--mesh: v5e has {_TPU_SHAPES[-1][0] * _TPU_SHAPES[-1][1]} chips at most, not {number}")
    # else libtpu asks the network which machine this is, and refuses a second process
    alone = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-4"}
    for variable, value in (alone | {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}).items():
        os.environ.setdefault(variable, value)
    with without_a_device():
        found = topologies.get_topology_desc(platform="tpu", topology_name=f"v5e:{shape[0]}x{shape[1]}")
    return list(found.devices)


PLATFORMS: Mapping[str, Platform] = {
    "h100": Platform("gpu", "cuda", _h100, _h100_options),
    "v5e": Platform("tpu", "tpu", _v5e, dict),
}
