"""The machine that a program is made for: plans and methods depend on it, and jax does not know it while it traces."""

import contextlib
from typing import NamedTuple

import jax

_GPUS = ("gpu", "cuda", "rocm")  # jax's names of one and the same


class _Machine(NamedTuple):
    platform: str
    devices: int


_given = jax.make_user_context(default_value=None)  # part of the key by which jax finds traced programs


def program_for(platform: str, *, devices: int = 1) -> contextlib.AbstractContextManager[None]:
    """Makes programs that are traced in its body for a platform, such as a GPU's on a host that has none.

    Outside it the platform is that of the mesh in use (`jax.set_mesh`), else of `jax.default_device`, else jax's
    default backend; and arrays may be sharded if jax sees several devices.

    Args:
      platform: "cpu", "gpu" or "tpu".
      devices: the number of devices that arrays may be sharded over.

    Raises:
      ValueError: another platform, or less than one device.
    """
    if platform not in ("cpu", "tpu", *_GPUS):
        raise ValueError(f"unknown platform {platform!r}; allowed: cpu, gpu, tpu")
    if devices < 1:
        raise ValueError(f"devices must be at least 1, not {devices}")
    return _given(_Machine(_plain(platform), devices))


def platform_in_use() -> str:
    """Returns the platform that programs are made for here: "cpu", "gpu" or "tpu"."""
    if _given.value is not None:
        return _given.value.platform
    mesh = jax.sharding.get_abstract_mesh()
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]  # its type stub lacks it
    if not mesh.empty and mesh.abstract_device is not None:
        return _plain(mesh.abstract_device.platform)
    if chosen is not None:
        return _plain(getattr(chosen, "platform", chosen))
    return _plain(jax.default_backend())


def has_several_devices() -> bool:
    """Returns whether arrays may be sharded over devices here."""
    return (jax.device_count() if _given.value is None else _given.value.devices) > 1


def _plain(platform: str) -> str:
    return "gpu" if platform in _GPUS else platform
