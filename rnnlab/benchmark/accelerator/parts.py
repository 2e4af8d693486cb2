"""The parts of the measurement, the most valuable first in case the run is cut short."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rnnlab.benchmark.accelerator import exactness, facts, job, layers, loop, parallel
from rnnlab.benchmark.accelerator.records import Case, Row


class Part(NamedTuple):
    """A part of the measurement.

    Attributes:
      seconds: maximum in a run of 7.5 minutes; its share in any other run.
      cases: lists all cases, the most valuable first; True: few and tiny ones.
      measure: measures cases, and yields each with its figures as soon as they are known. For a single case it may
        raise an exception.
      together: the number of cases per call, or a few more that differ only in their implementation.
      environment: variables of the process that measures a case.
      side_by_side: the name of a field; cases with different values are measured in concurrent processes.
    """

    seconds: float
    cases: Callable[[bool], list[Case]]
    measure: Callable[[Sequence[Case], Mapping[str, Row]], Iterator[tuple[Case, Row]]]
    together: int = 1
    environment: Callable[[Case], dict[str, str]] = lambda case: {}
    side_by_side: str = ""


PARTS = {
    "facts": Part(30, facts.cases, facts.measure),
    "exactness": Part(60, exactness.cases, exactness.measure, 1, exactness.environment, "cell"),
    "layers": Part(150, layers.cases, layers.measure, 24, layers.environment),
    "parallel": Part(90, parallel.cases, parallel.measure, 20),
    "loop": Part(40, loop.cases, loop.measure, 8, loop.environment),
    "job": Part(60, job.cases, job.measure, 4),
}
