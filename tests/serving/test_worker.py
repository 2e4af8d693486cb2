"""What waits together is answered together, in order, and never mixed."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from rnnlab.errors import UserError
from rnnlab.serving import worker as module
from rnnlab.serving.worker import Full, Question, Worker
from tests.serving.fake import Echo, FakeRun, Whole

BEAM = (("beam_size", 3),)


def _held(run: FakeRun, worker: Worker):
    """Has the worker compute a first question until `run.free` is set; returns its reply."""
    run.free.clear()
    reply = worker.ask(Question([b"first"]))
    while not run.calls:
        time.sleep(0.001)
    return reply


def _answer(reply):
    return reply.result(30).answers


def test_what_waits_is_answered_together_by_its_options_and_each_gets_its_own():
    run = FakeRun()
    with Worker(run) as worker:
        first = _held(run, worker)
        replies = [worker.ask(Question(*each)) for each in (([b"a", b"b"],), ([b"c"], BEAM), ([],), ([b"d"],))]
        assert worker.waiting == 4
        run.free.set()
        assert _answer(first) == ["first 0 {}"]
        assert [_answer(reply) for reply in replies] == [
            ["a 1 {}", "b 2 {}"],
            ["c 4 {'beam_size': 3}"],
            [],
            ["d 3 {}"],
        ]
    assert run.calls == [[b"first"], [b"a", b"b", b"d"], [b"c"]]
    assert run.made == [{}, {"beam_size": 3}]


def test_only_so_many_lines_are_joined(monkeypatch):
    monkeypatch.setattr(module, "_LINES_TOGETHER", 3)
    run = FakeRun()
    with Worker(run) as worker:
        _held(run, worker)
        replies = [
            worker.ask(Question([name] * number)) for name, number in ((b"a", 2), (b"b", 2), (b"c", 1), (b"d", 5))
        ]
        run.free.set()
        assert [len(_answer(reply)) for reply in replies] == [2, 2, 1, 5]
    assert run.calls[1:] == [[b"a", b"a", b"c"], [b"b", b"b"], [b"d"] * 5]


def test_a_stream_continues_in_the_order_of_its_questions_whatever_their_options():
    run = FakeRun()
    with Worker(run) as worker:
        _held(run, worker)
        asked = [("a", "s", ()), ("x", "t", ()), ("b", "s", BEAM), ("c", "s", ()), ("y", "t", ()), ("n", "", ())]
        replies = [worker.ask(Question([line.encode()], options, stream)) for line, stream, options in asked]
        run.free.set()
        found = [reply.result(30) for reply in replies]
    assert [answer for reply in found[:5] for answer in reply.answers] == ["a", "x", "ab", "abc", "xy"]
    assert [reply.continued for reply in found] == [False, False, True, True, True, False]
    assert run.calls[1:] == [[b"a", b"x"], [b"b"], [b"c", b"y"], [b"n"]]


def test_the_least_recently_used_stream_and_options_are_dropped(monkeypatch):
    monkeypatch.setattr(module, "_STREAMS", 2)
    monkeypatch.setattr(module, "_PREDICTORS", 2)
    run = FakeRun()
    with Worker(run) as worker:
        streams = "a", "b", "a", "c", "a", "b"
        continued = [worker.ask(Question([b"."], (), stream)).result(30).continued for stream in streams]
        assert continued == [False, False, True, False, True, False]
        for size in (1, 2, 1, 3, 1, 2):
            _answer(worker.ask(Question([b"."], (("beam_size", size),))))
    assert [options.get("beam_size") for options in run.made] == [None, 1, 2, 3, 2]


@pytest.mark.parametrize(
    ("line", "error"), [(b"bad", UserError), (b"bug", RuntimeError), (b"lost", RuntimeError), (None, UserError)]
)
def test_a_question_that_fails_fails_alone(line, error):
    run = FakeRun()
    with Worker(run) as worker:
        _held(run, worker)
        before = worker.ask(Question([b"a"]))
        failing = worker.ask(Question([line]) if line else Question([b"b"], (("beam_size", 0),)))
        after = worker.ask(Question([b"c"]))
        run.free.set()
        assert [_answer(reply)[0][0] for reply in (before, after)] == ["a", "c"]
        with pytest.raises(error):
            failing.result(30)


def test_a_reply_that_nobody_waits_for_is_not_computed():
    run = FakeRun()
    with Worker(run) as worker:
        _held(run, worker)
        left, stayed = worker.ask(Question([b"left"])), worker.ask(Question([b"stayed"]))
        assert left.cancel()
        run.free.set()
        assert len(_answer(stayed)) == 1
    assert run.calls[1:] == [[b"stayed"]]


def test_too_much_is_refused_and_a_large_question_alone_is_not(monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    monkeypatch.setattr(module, "MOST_BYTES", 4)
    run = FakeRun()
    with Worker(run) as worker:
        _held(run, worker)
        large = worker.ask(Question([b"12345"]))
        with pytest.raises(Full):
            worker.ask(Question([b"1"]))
        run.free.set()
        assert len(_answer(large)) == 1
        run.calls.clear()
        _held(run, worker)
        small = [worker.ask(Question([b"1"])) for _ in range(3)]
        with pytest.raises(Full):
            worker.ask(Question([b""]))
        run.free.set()
        assert [len(_answer(reply)) for reply in small] == [1, 1, 1]


def test_files_are_answered_one_by_one():
    run = FakeRun(Whole)
    with Worker(run) as worker:
        _held(run, worker)
        replies = [worker.ask(Question([content])) for content in (b"a\nb\n", b"c\n")]
        run.free.set()
        assert [_answer(reply) for reply in replies] == [["2", "end"], ["1", "end"]]


def test_programs_are_compiled_while_nothing_waits_and_what_waits_comes_first():
    class Warming(Echo):
        def warm_up(self):
            for number in range(3):
                self.calls.append(number)
                assert self.free.wait(30)
                yield

    run = FakeRun(Warming)
    run.free.clear()
    with Worker(run) as worker:
        reply = worker.ask(Question([b"a"]))
        assert not worker.is_warm
        run.free.set()
        _answer(reply)
        while not worker.is_warm:
            time.sleep(0.001)
    assert run.calls == [0, [b"a"], 1, 2]


def test_a_closed_worker_answers_what_it_computes_and_nothing_more():
    run = FakeRun()
    with Worker(run) as worker:
        first = _held(run, worker)
        waiting = worker.ask(Question([b"a"]))
        closing = threading.Thread(target=worker.__exit__)
        closing.start()
        with pytest.raises(CancelledError):
            waiting.result(30)
        run.free.set()
        assert len(_answer(first)) == 1
        closing.join()
    assert run.calls == [[b"first"]]
