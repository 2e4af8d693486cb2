"""A running server, the command that asks it, and its end."""

import io
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

from rnnlab.errors import UserError
from rnnlab.run import load
from rnnlab.serving.client import ask
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]
# The command, which prints last whether it needed jax or numpy.
COMMAND = """
import sys
from rnnlab.__main__ import main
try:
    sys.exit(main())
finally:
    print([name for name in ("jax", "numpy") if name in sys.modules], file=sys.stderr)
"""


def _client(*arguments, stdin=b""):
    """Returns the exit status, stdout and the lines on stderr."""
    command = [sys.executable, "-c", COMMAND, "--mode=predict", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode().splitlines()


@pytest.fixture(scope="module")
def served(trained):
    """A running server, and its address."""
    process = tiny.launch(f"--workdir={trained}", "--mode=serve", "--port=0")
    line = process.stdout.readline()
    assert "until Ctrl-C" in line, process.stderr.read()
    yield process, line.split()[-3]
    process.kill()
    process.communicate()


def _ask(server, lines, **options):
    answers = io.BytesIO()
    ask(server, io.BytesIO(lines), answers, options)
    return answers.getvalue().decode()


def test_a_pipe_is_answered_as_predict_does_without_jax(served, trained):
    _, server = served
    status, text, errors = _client(f"--server={server}", "--n_best=2", "--beam_size=3", stdin=b"abc\n\nf\xffed")
    expected = load(trained).predict(["abc", "", "f\ufffded"], n_best=2, beam_size=3)
    for answer, wanted in zip(text.splitlines(), expected, strict=True):
        columns, others = answer.split("\t"), wanted.split("\t")
        assert columns[::2] == others[::2]
        assert [float(score) for score in columns[1::2]] == pytest.approx(
            [float(score) for score in others[1::2]], abs=1e-4
        )
    assert (status, errors) == (0, ["[]"])
    assert _ask(server, b"") == ""


def test_what_the_server_refuses_is_one_line(served):
    _, server = served
    refused = f"error: {server}: --n_best: 90 is more than --beam_size=2; increase the beam size"
    assert _client(f"--server={server}", "--n_best=90", stdin=b"abc") == (1, "", [refused, "[]"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--server=localhost:1"], "'localhost:1' is not an address such as http://127.0.0.1:8000"),
        (["--server=http://127.0.0.1:x"], "is not an address"),
        (["--server=http://127.0.0.1:1", "--workdir=x"], "--workdir: belongs to the command that starts the server"),
        (["--server=http://127.0.0.1:1", "--mode=evaluate"], "--server: not available for --mode=evaluate"),
    ],
)
def test_flags_that_a_client_cannot_have_are_one_line(arguments, message):
    status, text, (line, imported) = _client(*arguments)
    assert (status, text, imported) == (1, "", "[]")
    assert message in line


def test_a_server_that_does_not_answer_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no answer from {server}: Connection refused"):
            _ask(server, b"a")


def test_clients_at_the_same_time_each_get_their_answers_and_a_signal_stops_after_them(served, trained):
    process, server = served
    words = [word * number for word in ("a", "bc", "fed") for number in (1, 2)] * 10
    expected, found = load(trained).predict(words), {}
    gone = socket.create_connection(server.removeprefix("http://").split(":"))
    gone.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
    gone.close()

    def client(number):
        found[number] = _ask(server, words[number].encode()).removesuffix("\n")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(len(words))]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert [found[number] for number in range(len(words))] == expected
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert process.stderr.read() == ""
