"""Compiled programs kept on disk, so that an experiment that starts again compiles nothing."""

import os

import jax

from rnnlab.files import user_cache


def use_compile_cache() -> None:
    """Keeps every compiled program in `JAX_COMPILATION_CACHE_DIR`, or, where that is not set, in the user's cache.

    The latter is `$XDG_CACHE_HOME/rnnlab/xla`, by default `~/.cache/rnnlab/xla`. JAX_ENABLE_COMPILATION_CACHE=false
    turns it off. A folder that cannot be used costs a warning and the time to compile, no more.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(user_cache("xla"))
    jax.config.update("jax_compilation_cache_dir", folder)
    # jax keeps what took a second to compile; the many small programs of a start take longer together
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
