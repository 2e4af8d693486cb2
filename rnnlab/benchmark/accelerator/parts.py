"""What is measured, in the order of what is worth most if the run is cut."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rnnlab.benchmark.accelerator import exactness, facts, job, layers, loop, parallel
from rnnlab.benchmark.accelerator.records import Case, Row


class Part(NamedTuple):
    """A part of the measurement.

    Attributes:
      seconds: at most, of a run of 7.5 minutes; its share of any other.
      cases: all of them, those worth most first; True asks for few and tiny ones.
      measure: measures cases, and yields each with what was found as soon as it is known. Of a single case it may
        raise what went wrong.
      together: how many cases it is given at once, or a few more that differ in their implementation alone.
      environment: variables of the process that measures a case.
      side_by_side: the name of a field by whose values cases are measured in processes at the same time.
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
