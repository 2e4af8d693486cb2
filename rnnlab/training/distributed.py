"""Several processes as one run: they find each other, agree, and notice when one is lost."""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from rnnlab.errors import UserError

T = TypeVar("T")
_HEARTBEAT, _NAMING, _REPORT = 10, 15, 24 * 3600  # seconds
# What tells, in the environment, that a launcher started several processes, which jax then knows how to join.
_LAUNCHERS: dict[str, Callable[[Mapping[str, str]], bool]] = {
    "slurm": lambda env: int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1,
    "ompi": lambda env: int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1,
    "k8s": lambda env: "KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env,
    "cloud tpu": lambda env: "," in env.get("TPU_WORKER_HOSTNAMES", ""),
}


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the processes of a run: those that the arguments tell of, else those of SLURM (`srun` with several tasks),
    Open MPI, Kubernetes (an indexed job) or a Cloud TPU, else none.

    Args:
      coordinator: address:port of process 0, as all processes reach it.
      processes: how many; process: the number of this one, from 0.

    Raises:
      UserError: some of the arguments without the others, numbers that do not fit, or processes that do not come.
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
            shutdown_timeout_seconds=_REPORT,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--coordinator: the processes did not find each other: {error}") from None


def is_first() -> bool:
    """Whether this process writes what a run leaves: process 0, or the only one."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns once every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def agree(value: T) -> T:
    """What process 0 holds, in every process: anything that JSON can write."""
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    held = np.frombuffer(text[:length].ljust(length, b"\0"), np.uint8)
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(held))))


def broadcast(arrays: T) -> T:
    """The arrays of process 0, in every process's host memory; all hold some of the same shapes and types."""
    return multihost_utils.broadcast_one_to_all(arrays) if jax.process_count() > 1 else arrays


def largest(number: int) -> int:
    """The largest of what the processes give."""
    return int(np.max(multihost_utils.process_allgather(np.int32(number)))) if jax.process_count() > 1 else number


class LostPeer(Exception):
    """A process of the run is gone; names it."""


@contextlib.contextmanager
def naming_the_lost() -> Iterator[None]:
    """Turns what a computation over several processes raises when one of them is gone into a `LostPeer`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).strip().splitlines()[0][:200]
        try:  # those that are left all come here; jax says who does not
            multihost.sync_global_processes("who is there", timeout=_NAMING)
        except Exception as missing:
            who = _named(str(missing))
            text = f"{who} lost ({reason}); start all processes again to go on from the last checkpoint"
            raise LostPeer(text) from None
        raise


def _named(text: str) -> str:
    numbers = {int(number) for number in re.findall(r"/task:(\d+)", text)}
    others = sorted(numbers - {jax.process_index()})
    return f"process {', '.join(map(str, others))} of {jax.process_count()} is" if others else "process 0 is"
