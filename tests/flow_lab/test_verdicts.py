import pytest

from rnnlab.flow_lab.intervals import Interval
from rnnlab.flow_lab.verdicts import CONDITION, FAILS, HOLDS, OPEN, Check, Finding, above, always, below


def _verdict(*held):
    return Finding("n", "s", "e", [Check("c", "f", h) for h in held], lambda axes: None).verdict


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ((True, True), HOLDS),
        ((False, False), FAILS),
        ((True, False), CONDITION),
        ((None, True), HOLDS),
        ((None, False), FAILS),
        ((None, None), OPEN),
        ((), OPEN),
    ],
)
def test_a_verdict_follows_from_the_checks_that_can_tell(held, verdict):
    assert _verdict(*held) == verdict


@pytest.mark.parametrize(("low", "high", "is_above"), [(2.0, 3.0, True), (0.0, 0.5, False), (0.5, 1.5, None)])
def test_a_check_tells_only_where_the_whole_interval_lies_on_one_side(low, high, is_above):
    interval = Interval((low + high) / 2, low, high, 5)
    assert above("x", interval, 1.0).holds is is_above
    assert below("x", interval, 1.0).holds is (None if is_above is None else not is_above)


def test_one_counterexample_refutes_what_is_always_so():
    assert always("x", [True] * 30).holds is True
    refuted = always("x", [True] * 29 + [False])
    assert refuted.holds is False
    assert refuted.figure.startswith("29 of 30 cases")
