"""From figures to a verdict, by rules alone."""

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rnnlab.flow_lab.intervals import Interval, share

HOLDS, CONDITION, FAILS, OPEN = "holds", "holds under a condition", "does not hold", "undecided"


class Check(NamedTuple):
    """One thing that must be so for a statement to hold: `holds` is None where the interval cannot tell."""

    label: str
    figure: str
    holds: bool | None


class Finding(NamedTuple):
    """A statement of the tutorial, how it was tested, and what was found; `draw` makes its curve."""

    name: str
    statement: str
    experiment: str
    checks: list[Check]
    draw: Callable[[Axes], None]

    @property
    def verdict(self) -> str:
        """What the checks say together; those that cannot tell have no say beside others that can."""
        decided = {check.holds for check in self.checks if check.holds is not None}
        if not decided:
            return OPEN
        return CONDITION if len(decided) == 2 else HOLDS if decided == {True} else FAILS

    @property
    def summary(self) -> str:
        """The verdict, and how many of the checks hold."""
        return f"{self.verdict} ({sum(check.holds is True for check in self.checks)} of {len(self.checks)} checks)"


def above(label: str, interval: Interval, bound: float) -> Check:
    """That a figure lies above a bound."""
    holds = True if interval.low > bound else False if interval.high < bound else None
    return Check(label, f"{interval.text()}, asked: above {bound:.3g}", holds)


def below(label: str, interval: Interval, bound: float) -> Check:
    """That a figure lies below a bound."""
    holds = True if interval.high < bound else False if interval.low > bound else None
    return Check(label, f"{interval.text()}, asked: below {bound:.3g}", holds)


def always(label: str, hits: ArrayLike) -> Check:
    """That something is so in every case: a single one in which it is not refutes it; no case tells nothing."""
    found = share(hits)
    figure = f"{found.value * found.number:.0f} of {found.number} cases; share {found.text()}"
    return Check(label, figure, found.value == 1 if found.number else None)
