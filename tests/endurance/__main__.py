"""The checks of `docs/reliability.md` that take too long for the test suite.

    python -m tests.endurance                   all of them, about half an hour
    python -m tests.endurance kills damage      some

Each prints its figure when it ends.
"""

import logging
import os
import pathlib
import sys
import tempfile
import time

from absl import logging as absl_logging

from rnnlab.training.compile_cache import use_compile_cache
from tests.endurance import inputs, runs

CHECKS = {
    "kills": runs.kills,
    "damage": runs.damage,
    "full_disk": runs.full_disk,
    "losses": runs.losses,
    "restores": runs.restores,
    "lost_peers": runs.lost_peers,
    "configs": inputs.configs,
    "data_files": inputs.data_files,
    "predictions": inputs.predictions,
    "lines": inputs.lines,
}


def main(names: list[str]) -> int:
    """Runs the checks; returns 1 for an unknown name."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"unknown check {unknown[0]!r}; allowed: {', '.join(CHECKS)}", file=sys.stderr)
        return 1
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(pathlib.Path(tempfile.gettempdir()) / "rnnlab_tests" / "xla")
    use_compile_cache()
    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("rnnlab").setLevel(logging.ERROR)
    for name in names or CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            found = CHECKS[name](pathlib.Path(folder))
        print(f"{name}: {found} ({time.monotonic() - started:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
