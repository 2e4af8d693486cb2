import pytest

from rnnlab import timing
from rnnlab.timing import Times, time_in_turn


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a call moves it: `clock(seconds)` makes such a call, which notes its name."""
    now, noted = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def make(name, *seconds):
        left = list(seconds)

        def call():
            noted.append(name)
            now[0] += left.pop(0)

        return call

    return make, noted


def test_calls_are_timed_in_turn_after_those_that_warm_up(clock):
    make, noted = clock
    calls = {"a": make("a", 9, 1, 3, 2), "b": make("b", 9, 4, 4, 6)}
    found = time_in_turn(calls, repeats=3)
    assert noted == ["a", "b"] * 4
    assert found == {"a": Times([1, 3, 2]), "b": Times([4, 4, 6])}
    assert (found["a"].best, found["a"].median, found["a"].spread) == (1, 2, 1)


@pytest.mark.parametrize(("least", "rounds"), [(1, 3), (5, 5)])
def test_no_round_begins_after_the_seconds_once_there_were_enough(clock, least, rounds):
    make, noted = clock
    found = time_in_turn({"a": make("a", *[1] * 9)}, repeats=9, warm_up=0, least=least, seconds=2.5)
    assert len(found["a"].seconds) == len(noted) == rounds
