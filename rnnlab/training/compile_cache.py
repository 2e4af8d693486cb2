"""Caches compiled programs on disk, so that a restarted experiment compiles nothing."""

import os

import jax

from rnnlab.files import user_cache


def use_compile_cache() -> None:
    """Stores every compiled program in `JAX_COMPILATION_CACHE_DIR`, or, if that is not set, in the user's cache.

    The latter is `$XDG_CACHE_HOME/rnnlab/xla`, by default `~/.cache/rnnlab/xla`. JAX_ENABLE_COMPILATION_CACHE=false
    disables it. An unusable folder costs only a warning and the time to compile.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(user_cache("xla"))
    jax.config.update("jax_compilation_cache_dir", folder)
    # by default jax only stores programs that took a second to compile; many small ones take longer together
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
