import os
import platform
import subprocess
import sys

import pytest

from tests import tiny

_FAULTS = """
import resource, sys
from rnnlab.memory import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = b"1" * 2**28
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*arguments: str, **environment: str) -> int:
    """Page faults of filling 256 MB for the third time, after it was freed twice."""
    command = [sys.executable, "-c", _FAULTS, *arguments]
    free = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(command, cwd=tiny.ROOT, env=free | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's allocator")
def test_memory_that_was_freed_is_kept_but_where_the_environment_says_otherwise():
    assert _faults() > 100
    assert _faults("keep") < 10
    assert _faults("keep", MALLOC_ARENA_MAX="8") > 100
