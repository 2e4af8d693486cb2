"""How long calls take, side by side: one timer for benchmarks and breakdowns. Imports nothing from rnnlab."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Times(NamedTuple):
    """Seconds of each call that was timed, in order."""

    seconds: list[float]

    @property
    def best(self) -> float:
        """The least."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """How far the median lies above the least, relative to it."""
        return (self.median - self.best) / self.best


def time_in_turn(
    calls: Mapping[K, Callable[[], object]],
    *,
    repeats: int,
    warm_up: int = 1,
    least: int = 1,
    seconds: float = float("inf"),
) -> dict[K, Times]:
    """Times calls in turn, a round after another, so that what slows the machine slows all of them.

    Args:
      calls: by name; each must return only when its work is done.
      repeats: rounds that are timed, after `warm_up` rounds that are not.
      least, seconds: no further round begins after so many seconds, once there were so many rounds.
    """
    for _ in range(warm_up):
        for call in calls.values():
            call()
    found: dict[K, list[float]] = {name: [] for name in calls}
    deadline = time.perf_counter() + seconds
    for repeat in range(repeats):
        if repeat >= least and time.perf_counter() > deadline:
            break
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - started)
    return {name: Times(values) for name, values in found.items()}
