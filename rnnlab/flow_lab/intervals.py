"""Statistics of figures over several seeds: a value and its 95 % interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_LEVEL = 0.95


class Interval(NamedTuple):
    """A value between `low` and `high`, from `number` seeds or cases."""

    value: float
    low: float
    high: float
    number: int

    def text(self, digits: int = 3) -> str:
        """Returns the value with its interval, to `digits` significant digits."""
        if self.number == 1 and not np.isfinite(self.low):
            return f"{self.value:.{digits}g} (one seed; an interval needs two)"
        return f"{self.value:.{digits}g} ({self.low:.{digits}g} to {self.high:.{digits}g})"


def mean(values: ArrayLike) -> Interval:
    """Computes the mean and its interval by Student's t; for less than two values the interval is unbounded."""
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return Interval(float(found[0]) if len(found) else np.nan, -np.inf, np.inf, len(found))
    middle = float(found.mean())
    half = float(stats.t.ppf((1 + _LEVEL) / 2, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5)
    return Interval(middle, middle - half, middle + half, len(found))


def geometric_mean(ratios: ArrayLike) -> Interval:
    """Computes the mean of ratios and its interval, both on a logarithmic scale."""
    found = mean(np.log(ratios))
    value, low, high = (float(np.exp(logarithm)) for logarithm in found[:3])
    return Interval(value, low, high, found.number)


def share(hits: ArrayLike) -> Interval:
    """Computes the share of hits and its interval (Wilson 1927); without cases, 0 to 1."""
    found = np.asarray(hits, bool)
    if not len(found):
        return Interval(np.nan, 0.0, 1.0, 0)
    result = stats.binomtest(int(found.sum()), len(found)).proportion_ci(_LEVEL, method="wilson")
    return Interval(float(found.mean()), float(result.low), float(result.high), len(found))
