"""What a process does with memory that it has freed. Imports nothing from the rest of rnnlab."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)
_ALL = 2**31 - 1


def keep_freed_memory() -> None:
    """Keeps freed memory for the next step, instead of handing it back to the system.

    XLA's CPU backend frees the temporary arrays of a program when it ends. Of those above 32 MB, glibc gives the pages
    back at once, and Linux fills each of them with zeros when the next step touches it, which took up to a quarter of
    the time of a step (`docs/scan.md`). What the process holds is its peak from then on.

    To be called before threads start. It does nothing where the allocator is not glibc's, or where the environment has
    settings for it (`MALLOC_...`, `GLIBC_TUNABLES`).
    """
    chosen = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(k.startswith("MALLOC_") for k in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        return
    # Threads have arenas of their own otherwise, which cannot grow beyond 64 MB.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _ALL), (_TRIM_THRESHOLD, _ALL)):
        ctypes.CDLL(None).mallopt(option, value)
