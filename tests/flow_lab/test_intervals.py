import numpy as np
import pytest

from rnnlab.flow_lab import intervals


def test_a_mean_has_the_interval_of_students_t():
    """Student's own example (1908): ten hours of sleep gained, t at 9 degrees of freedom is 2.262."""
    gained = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = intervals.mean(gained)
    assert found.value == pytest.approx(2.33)
    assert found.high - found.value == pytest.approx(2.262 * 2.002 / 10**0.5, rel=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_ratios_have_the_interval_of_their_logarithms():
    found = intervals.geometric_mean([1.0, 10.0, 100.0])  # t at 2 degrees of freedom is 4.303
    np.testing.assert_allclose(found[:3], (10, 10 ** (1 - 4.303 / 3**0.5), 10 ** (1 + 4.303 / 3**0.5)), rtol=1e-3)


def test_of_a_single_value_nothing_is_known():
    assert intervals.mean([3.0])[:3] == (3.0, -np.inf, np.inf)


@pytest.mark.parametrize(("hits", "number"), [(0, 5), (5, 5), (3, 8)])
def test_a_share_has_the_interval_of_wilson(hits, number):
    z, p = 1.959964, hits / number
    middle = (p + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * (p * (1 - p) / number + z**2 / (4 * number**2)) ** 0.5
    found = intervals.share([True] * hits + [False] * (number - hits))
    np.testing.assert_allclose(found, (p, middle - half, middle + half, number), atol=1e-6)
