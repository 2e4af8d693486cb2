"""The treatment of freed memory. Imports nothing from the rest of rnnlab."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)
_ALL = 2**31 - 1


def keep_freed_memory() -> None:
    """Keeps freed memory for the next step, instead of returning it to the system.

    XLA's CPU backend frees the temporary arrays of a program when it ends. glibc returns the pages of arrays above
    32 MB at once, and Linux zeroes each page when the next step touches it, which took up to a quarter of the time of a
    step (`docs/scan.md`). From then on the process keeps its peak memory.

    Call it before threads start. It does nothing if the allocator is not glibc's, or if the environment configures it
    (`MALLOC_...`, `GLIBC_TUNABLES`).
    """
    chosen = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(k.startswith("MALLOC_") for k in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        return
    # Otherwise each thread has its own arena, which cannot grow beyond 64 MB.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _ALL), (_TRIM_THRESHOLD, _ALL)):
        ctypes.CDLL(None).mallopt(option, value)
