"""Requests and what is answered, with a run that knows how to spell and with one that notes what it is asked."""

import asyncio
import json
import time

import pytest
from starlette.testclient import TestClient

from rnnlab.errors import UserError
from rnnlab.run import load
from rnnlab.serving import request as limits
from rnnlab.serving import server, worker
from rnnlab.serving.server import make_app
from rnnlab.serving.worker import Question, Worker
from tests.serving.fake import FakeRun, Whole

WORDS = ["abc", "", "fade", "gag"]
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def run(trained):
    return load(trained)


@pytest.fixture(scope="module")
def client(run):
    with Worker(run) as worker:
        yield TestClient(make_app(worker))


@pytest.fixture
def fake():
    """`(run) -> client`; a bug of the run is answered, as for everyone outside a test."""
    workers = []

    def make(run):
        workers.append(Worker(run))
        return TestClient(make_app(workers[-1]), raise_server_exceptions=False)

    yield make
    for each in workers:
        each.__exit__()


def test_lines_in_json_have_the_answers_of_a_loaded_run(client, run):
    response = client.post("/predict", json={"lines": WORDS})
    assert response.json() == {"answers": ["A B C", "", "F A D E", "G G A G G"]}
    options = {"n_best": 2, "beam_size": 3, "length_penalty": 1, "token_scores": True}
    response = client.post("/predict", json={"lines": WORDS, **options})
    assert response.headers["content-type"] == "application/json"
    answers, expected = response.json()["answers"], run.predict(WORDS, **options | {"length_penalty": 1.0})
    assert answers == expected
    assert answers[0].count("\t") == 5


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain; charset=utf-8"}, BYTES])
def test_text_is_answered_line_by_line(client, run, headers):
    text = "\n".join(WORDS)
    for body in (text, text + "\n"):
        response = client.post("/predict?n_best=1&token_scores=false", content=body.encode(), headers=headers)
        assert response.text == "".join(f"{line}\n" for line in run.predict(WORDS, n_best=1))
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert client.post("/predict", content=b"", headers=headers).text == ""


def test_only_bytes_that_are_declared_need_not_be_text(client):
    assert client.post("/predict", content=b"a\xff", headers=BYTES).status_code == 200
    response = client.post("/predict", content=b"abc\nd\xff")
    assert response.status_code == 400
    assert response.json()["error"].startswith("line 2 is not UTF-8")


def _json(**fields):
    return json.dumps({"lines": ["abc"]} | fields)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ('{"lines": ', 400, "the body is not JSON: Expecting value"),
        ("[" * 100_000, 400, "nested too deeply"),
        (b'{"lines": ["\xff"]}', 400, "the body is not UTF-8"),
        ('["abc"]', 400, 'must be an object with "lines"'),
        ('{"line": ["abc"]}', 400, 'must be an object with "lines"'),
        (_json(lines="abc"), 400, '"lines", a list of texts'),
        (_json(lines=["abc", 3]), 400, '"lines", a list of texts'),
        (_json(lines=["a", "b\nc"]), 400, "lines[1] has a line break"),
        ('{"lines": ["\\ud800"]}', 400, "a surrogate is not text"),
        (_json(lines=["a"] * 2049), 413, "2,049 lines; a request may have 2,048"),
        (_json(lines=["a", "é" * 8193]), 413, "line 2 has 16,386 bytes; it may have 16,384"),
        (_json(n_best="3"), 400, "n_best: must be of type int"),
        (_json(n_best=True), 400, "n_best: must be of type int"),
        (_json(n_best=-1), 400, "n_best: -1 is not allowed; it must be from 0"),
        (_json(n_best=9), 400, "--n_best: 9 is more than"),
        (_json(beam_size=101), 400, "beam_size: 101 is not allowed; it must be from 0 to 100"),
        (_json(beam_size=0), 400, "config.evaluation.beam_size: 0 is not allowed"),
        (_json(temperature=float("nan")), 400, "temperature: nan is not allowed"),
        (_json(temperature=10**400), 400, "temperature: must be of type float"),
        (_json(attention="seen"), 400, "attention: unknown option; allowed: n_best"),
        (_json(batch_size=1), 400, "batch_size: unknown option"),
        (_json(best=1), 400, "best: unknown option"),
        (_json(stream="s"), 400, "stream: this task keeps no state between lines"),
        (_json(stream=3), 400, "stream: must be a name"),
        (_json(stream="s" * 201), 400, "stream: must be a name of at most 200 characters"),
        (_json(stream="s", lines=["a", "b"]), 400, "one line for each request, not with 2"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_and_the_next_one_answered(client, body, status, message):
    response = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert message in response.json()["error"]
    assert client.post("/predict", content=b"abc").text == "A B C\n"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("n_best=x", "n_best: must be of type int"),
        ("token_scores=yes", "must be of type bool"),
        ("beam=1", "beam: unk"),
    ],
)
def test_a_query_is_checked_as_json_is(client, query, message):
    response = client.post(f"/predict?{query}", content=b"abc")
    assert (response.status_code, message in response.json()["error"]) == (400, True)


def test_a_query_beside_json_is_refused(client):
    response = client.post("/predict?n_best=1", json={"lines": ["abc"]})
    assert (response.status_code, "belong to its body" in response.json()["error"]) == (400, True)


def test_health_names_the_run(client, run, trained):
    found = client.get("/health").json()
    assert found.items() >= {"status": "ready", "task": "seq2seq", "step": run.step, "waiting": 0}.items()
    assert found["workdir"] == str(trained)
    assert "attention" not in found["options"]
    assert {"n_best", "beam_size"} <= set(found["options"])


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/predictions", 404), ("GET", "/predict", 405)]
)
def test_other_routes_are_refused(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]


def test_a_warm_server_compiles_nothing_for_another_number_of_lines(run):
    with Worker(run) as own:
        client = TestClient(make_app(own))
        while not client.get("/health").json()["warm"]:
            pass
        search = own._predictor(())._evaluator._search
        compiled = search._cache_size()
        for number in (1, 2, 3, 7, 11, 16, 40):
            assert len(client.post("/predict", json={"lines": ["gabfed"[: 1 + number % 6]] * number}).json()["answers"])
        assert search._cache_size() == compiled > 0


def test_a_body_that_is_too_long_is_refused(fake, monkeypatch):
    monkeypatch.setattr(limits, "MOST_BODY_BYTES", 9)
    client = fake(FakeRun())
    assert client.post("/predict", content=b"123456789").status_code == 200
    assert client.post("/predict", content=b"1234567890").status_code == 413


def _send(app, *messages, cancelled=False):
    """Has an application receive messages and then, as from uvicorn, none, or be cancelled; returns what it sends."""
    sent, coming = [], iter(messages)

    async def receive():
        return next(coming, None) or await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async def call():
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}
        task = asyncio.ensure_future(app(scope, receive, send))
        if cancelled:
            await asyncio.sleep(0.1)
            task.cancel()
        await asyncio.wait_for(task, 30)

    asyncio.run(call())
    return sent


def test_a_body_that_does_not_arrive_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "_BODY_SECONDS", 0.01)
    with Worker(FakeRun()) as own:
        start, body = _send(make_app(own), {"type": "http.request", "body": b"a", "more_body": True})
    assert (start["status"], b"did not arrive" in body["body"]) == (408, True)


def test_a_client_that_leaves_costs_nothing():
    run = FakeRun()
    run.free.clear()
    gone = {"type": "http.disconnect"}
    with Worker(run) as own:
        first = own.ask(Question([b"first"]))
        while not run.calls:
            time.sleep(0.001)
        _send(make_app(own), {"type": "http.request", "body": b"left"}, gone)
        _send(make_app(own), {"type": "http.request", "body": b"half", "more_body": True}, gone)
        last = own.ask(Question([b"last"]))
        run.free.set()
        assert [len(reply.result(30).answers) for reply in (first, last)] == [1, 1]
    assert run.calls == [[b"first"], [b"last"]]


def test_a_task_that_is_cancelled_raises_nothing():
    """As by a second Ctrl-C, which would print a stack trace for each client."""
    run = FakeRun()
    run.free.clear()
    with Worker(run) as own:
        sent = _send(make_app(own), {"type": "http.request", "body": b"a"}, cancelled=True)
        run.free.set()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_too_many_requests_are_asked_to_come_again(fake, monkeypatch):
    monkeypatch.setattr(worker, "MOST_WAITING", 0)
    response = fake(FakeRun()).post("/predict", content=b"a")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


def test_a_bug_of_the_run_is_not_shown_and_the_server_lives(fake):
    client = fake(FakeRun())
    response = client.post("/predict", content=b"bug")
    assert (response.status_code, response.json()) == (
        500,
        {"error": "an error of the server; its log has the details"},
    )
    response = client.post("/predict", content=b"bad")
    assert (response.status_code, response.json()) == (400, {"error": "bad line"})
    assert client.post("/predict", content=b"good").status_code == 200


def test_a_stream_is_continued(fake):
    client = fake(FakeRun())
    asked = [{"lines": [line], "stream": stream} for line, stream in (("a", "s"), ("b", "s"), ("c", "t"))]
    found = [client.post("/predict", json=each).json() for each in asked]
    assert [each["answers"] for each in found] == [["a"], ["ab"], ["c"]]
    assert [each["continued"] for each in found] == [False, True, False]
    assert client.post("/predict?stream=s", content=b"d\n").text == "abd\n"
    assert client.post("/predict?stream=s").text == "abd\n"


@pytest.mark.parametrize(
    ("how", "number"), [({"content": b"a\nb\n\xff\n", "headers": BYTES}, 3), ({"json": {"lines": ["a", "b"]}}, 1)]
)
def test_a_file_is_answered_whole_whatever_its_lines(fake, monkeypatch, how, number):
    monkeypatch.setattr(limits, "MOST_LINES", 1)
    client = fake(FakeRun(Whole))
    assert client.get("/health").json()["reads"] == "file"
    response = client.post("/predict", **how)
    answers = response.json()["answers"] if "json" in how else response.text.splitlines()
    assert answers == [str(number), "end"]


def test_the_server_listens_on_this_machine_only():
    with server._listen(0) as listening:
        host, port = listening.getsockname()
        assert host == "127.0.0.1"
        listening.listen()
        with pytest.raises(UserError, match=f"--port: {port} is in use"):
            server._listen(port)
