"""What figures of several seeds say together: a value and its 95 % interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_LEVEL = 0.95


class Interval(NamedTuple):
    """A value between `low` and `high`, out of `number` seeds or cases."""

    value: float
    low: float
    high: float
    number: int

    def text(self, digits: int = 3) -> str:
        """The value with its interval, to so many significant digits."""
        return f"{self.value:.{digits}g} ({self.low:.{digits}g} to {self.high:.{digits}g})"


def mean(values: ArrayLike) -> Interval:
    """The mean and its interval by Student's t; of a single value, or none, the interval is unbounded."""
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return Interval(float(found[0]) if len(found) else np.nan, -np.inf, np.inf, len(found))
    middle = float(found.mean())
    half = float(stats.t.ppf((1 + _LEVEL) / 2, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5)
    return Interval(middle, middle - half, middle + half, len(found))


def geometric_mean(ratios: ArrayLike) -> Interval:
    """The mean of ratios and its interval, both on the scale of their logarithms."""
    found = mean(np.log(ratios))
    value, low, high = (float(np.exp(logarithm)) for logarithm in found[:3])
    return Interval(value, low, high, found.number)


def share(hits: ArrayLike) -> Interval:
    """The share of hits and its interval (Wilson 1927); of none, from 0 to 1."""
    found = np.asarray(hits, bool)
    if not len(found):
        return Interval(np.nan, 0.0, 1.0, 0)
    result = stats.binomtest(int(found.sum()), len(found)).proportion_ci(_LEVEL, method="wilson")
    return Interval(float(found.mean()), float(result.low), float(result.high), len(found))
