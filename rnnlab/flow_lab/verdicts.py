"""Rules that derive a verdict from figures."""

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rnnlab.flow_lab.intervals import Interval, share

MOST = 0.5  # share of runs above which it is most of them
HOLDS, CONDITION, FAILS, OPEN = "holds", "holds under a condition", "does not hold", "undecided"


class Check(NamedTuple):
    """A condition for a statement to hold: `holds` is None if the interval cannot tell."""

    label: str
    figure: str
    holds: bool | None


class Finding(NamedTuple):
    """A statement of the tutorial, its experiment and its checks; `draw` plots its figure."""

    name: str
    statement: str
    experiment: str
    checks: list[Check]
    draw: Callable[[Axes], None]

    @property
    def verdict(self) -> str:
        """The verdict from all checks; those that cannot tell count only if no other can."""
        decided = {check.holds for check in self.checks if check.holds is not None}
        if not decided:
            return OPEN
        return CONDITION if len(decided) == 2 else HOLDS if decided == {True} else FAILS

    @property
    def summary(self) -> str:
        """The verdict, the number of checks that hold, and of those that cannot tell."""
        holds, open_ = ([check.holds for check in self.checks].count(answer) for answer in (True, None))
        rest = f"; {open_} cannot tell" if open_ else ""
        return f"{self.verdict} ({holds} of {len(self.checks)} checks{rest})"


def above(label: str, interval: Interval, bound: float) -> Check:
    """Checks that a figure is above a bound."""
    holds = True if interval.low > bound else False if interval.high < bound else None
    return Check(label, f"{interval.text()}, required: above {bound:.3g}", holds)


def below(label: str, interval: Interval, bound: float) -> Check:
    """Checks that a figure is below a bound."""
    holds = True if interval.high < bound else False if interval.low > bound else None
    return Check(label, f"{interval.text()}, required: below {bound:.3g}", holds)


def always(label: str, hits: ArrayLike) -> Check:
    """Checks that something holds in every case: one counterexample refutes it; without cases it is undecided."""
    found = share(hits)
    figure = f"{found.value * found.number:.0f} of {found.number} cases; share {found.text()}"
    return Check(label, figure, found.value == 1 if found.number else None)
