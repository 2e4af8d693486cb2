"""Several processes as one run: joining, agreement, and detection of lost processes."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from rnnlab.errors import UserError

T = TypeVar("T")
_HEARTBEAT, _ROLL_CALL, _SHUTDOWN, _REPORT, _PATIENCE = 20, 3, 30, 24 * 3600, 1  # seconds
_FAILED = "a process failed"
_LOST = "error: process {} of {} is lost; start all again to resume from the last checkpoint"
_LAST_WORD = """
import sys
if not sys.stdin.read():
    print(sys.argv[1] + " (unless it is this one that was killed)", file=sys.stderr, flush=True)
"""
# How the environment shows a launcher of several processes, which jax can then join.
_LAUNCHERS: dict[str, Callable[[Mapping[str, str]], bool]] = {
    "slurm": lambda env: int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1,
    "ompi": lambda env: int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1,
    "k8s": lambda env: "KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env,
    "cloud tpu": lambda env: "," in env.get("TPU_WORKER_HOSTNAMES", ""),
}


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the processes of a run: those of the arguments, else those of SLURM (`srun` with several tasks), Open MPI,
    Kubernetes (an indexed job) or a Cloud TPU, else none.

    Args:
      coordinator: address:port of process 0, reachable by all processes.
      processes: their number; process: the number of this one, from 0.

    Raises:
      UserError: some of the arguments without the others, inconsistent numbers, or processes that do not join.
    """
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    told = [name for name, value in given.items() if value is not None]
    if told and len(told) < len(given):
        raise UserError(f"{told[0]}: several processes need all of {', '.join(given)}")
    if process is not None and processes is not None and not 0 <= process < processes:
        raise UserError(f"--process: {process} is not one of --processes={processes}, which count from 0")
    if not told and not any(known(os.environ) for known in _LAUNCHERS.values()):
        return
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_SHUTDOWN,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--coordinator: the processes did not find each other: {error}") from None


def is_first() -> bool:
    """Returns whether this process writes the files of a run: process 0, or the only one."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns once every process has called it; `name` is used once in a run."""
    if jax.process_count() > 1:
        multihost.get_barrier_sync_fn()(key=name, timeout_ms=1000 * _REPORT)


def agree(value: T) -> T:
    """Returns the value of process 0 in every process: anything that JSON can represent."""
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    held = np.frombuffer(text[:length].ljust(length, b"\0"), np.uint8)
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(held))))


def broadcast(arrays: T) -> T:
    """Returns the arrays of process 0 in every process's host memory; shapes and types agree in all processes."""
    return multihost_utils.broadcast_one_to_all(arrays) if jax.process_count() > 1 else arrays


def largest(number: int) -> int:
    """Returns the largest value over all processes."""
    return int(np.max(multihost_utils.process_allgather(np.int32(number)))) if jax.process_count() > 1 else number


class _Watch:
    """A thread in every process that learns when any of them has failed, and then answers the roll call.

    A process that does not answer is lost; a process that waits in a computation for a lost one still answers, through
    its thread. The thread ends this process if another is lost.
    """

    def __init__(self):
        self._client = multihost.get_jax_distributed_client()
        self._all_there, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(None, self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._failed():
            if self._over.is_set():
                return
        try:
            self._client.wait_at_barrier("roll call", 1000 * _ROLL_CALL)
        except Exception as missing:  # the coordinator's own type; its text names them
            names = re.findall(r"Task (\d+) heartbeat|^(\d+)$", str(missing), flags=re.MULTILINE)
            others = sorted({int(a or b) for a, b in names} - {jax.process_index()})
            print(_LOST.format(", ".join(map(str, others)) or "?", jax.process_count()), file=sys.stderr, flush=True)
            os._exit(1)  # jax would wait for the lost ones
        self._all_there.set()

    def _failed(self) -> bool:
        try:
            self._client.blocking_key_value_get(_FAILED, 1000 * _PATIENCE)
        except jax.errors.JaxRuntimeError:  # no failure so far
            return False
        return True

    def close(self) -> None:
        """Ends the thread: Python cannot end while one waits outside of it."""
        self._over.set()
        self._thread.join()

    def call_the_roll(self) -> None:
        """Returns if all answered."""
        self._client.key_value_set(_FAILED, "", allow_overwrite=True)
        self._all_there.wait(2 * _ROLL_CALL)


@contextlib.contextmanager
def naming_the_lost() -> Iterator[None]:
    """Ends this process, with status 1 and a line that names the lost one, if a computation in its body fails because
    another process is lost.

    If process 0 is lost, jax aborts this process at once; a small process that was started before prints the last line.
    """
    if jax.process_count() == 1:
        yield
        return
    watch, witness = _Watch(), None
    if not is_first():
        command = [sys.executable, "-c", _LAST_WORD, _LOST.format(0, jax.process_count())]
        witness = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError):  # gloo raises either
        watch.call_the_roll()
        raise
    finally:
        watch.close()
        if witness is not None:
            witness.communicate(b"alive")
