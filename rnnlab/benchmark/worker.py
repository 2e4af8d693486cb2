"""One process of the benchmark: builds one case of one implementation, then runs it on demand.

Reads a line ("build", "run", "end") from stdin and answers each with one JSON object on stdout. The first argument is a
JSON object with the implementation and the fields of `Case`, or {"limits": dtype} for the limits of the machine.
"""

import json
import os
import resource
import sys
import time

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import build, status_of


def main() -> None:
    """Answers commands until "end" or the end of stdin."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    job = json.loads(sys.argv[1])
    if limit := job.pop("memory_limit_gb", 0):
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    worker = _Limits(job["limits"]) if "limits" in job else _Layer(job.pop("implementation"), Case(**job))
    for line in sys.stdin:
        try:
            answer = getattr(worker, line.strip())()
        except Exception as error:
            answer = {"status": status_of(error)}
        print(json.dumps(answer), file=answers, flush=True)
        if line.strip() == "end":
            return


class _Layer:
    """One case of one implementation."""

    def __init__(self, implementation: str, case: Case):
        self._implementation, self._case = implementation, case

    def start(self) -> dict:
        """Imports the package and makes the arguments."""
        self._layer = build(self._implementation, self._case)
        self._before = _peak_bytes()
        return {}

    def build(self) -> dict:
        """Traces, lowers and compiles, and runs for the first time."""
        stages = self._layer.build()
        return stages | {"first_call_s": self.run()["seconds"]}

    def run(self) -> dict:
        """Runs once; returns the seconds."""
        started = time.perf_counter()
        self._layer.run()
        return {"seconds": time.perf_counter() - started}

    def end(self) -> dict:
        """Returns peak memory, of the accelerator or of the process since before the build, and further figures."""
        on_device = self._layer.device_peak_bytes()
        peak = _peak_bytes() - self._before if on_device is None else on_device
        return {"peak_bytes": peak} | self._layer.facts()


class _Limits:
    """The limits of the machine, from `measure_limits`."""

    def __init__(self, dtype: str):
        self._dtype = dtype

    def run(self) -> dict:
        """Measures operations and bytes per second, and seconds per empty step."""
        from rnnlab.benchmark.limits import measure_limits

        return measure_limits(self._dtype)

    def end(self) -> dict:
        """Returns no further figures."""
        return {}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
