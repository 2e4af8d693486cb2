"""Times calls against each other, for benchmarks and breakdowns. Imports nothing from rnnlab."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Times(NamedTuple):
    """Seconds of each timed call, in order."""

    seconds: list[float]

    @property
    def best(self) -> float:
        """The minimum."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The distance of the median from the minimum, relative to the minimum."""
        return (self.median - self.best) / self.best


def time_in_turn(
    calls: Mapping[K, Callable[[], object]],
    *,
    repeats: int,
    warm_up: int = 1,
    least: int = 1,
    seconds: float = float("inf"),
) -> dict[K, Times]:
    """Times calls in turn, round by round, so that disturbances of the machine affect all of them.

    Args:
      calls: by name; each must return only when its work is done.
      repeats: timed rounds, after `warm_up` rounds that are not timed.
      least, seconds: after `seconds`, and at least `least` rounds, no further round starts.
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
