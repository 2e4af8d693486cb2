"""The client of a running server: a line in, a line out, without jax."""

import contextlib
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from rnnlab.errors import UserError
from rnnlab.lines import read_chunks, read_whole

_BYTES = {"Content-Type": "application/octet-stream"}  # read as standard input is


def ask(server: str, lines: BinaryIO, answers: BinaryIO, options: Mapping[str, Any]) -> None:
    """Writes what a server answers to the lines of a stream, in order, as soon as it is there.

    Args:
      server: http://HOST:PORT.
      lines, answers: as of `--mode=predict`.
      options: of the requests.

    Raises:
      UserError: the server cannot be reached, refuses a request, or the lines cannot be read any further.
    """
    health = json.loads(_request(server, "GET", "/health"))
    query = urllib.parse.urlencode({name: str(value).lower() for name, value in options.items()})
    bodies = [read_whole(lines)] if health["reads"] == "file" else _bodies(lines)
    for body in bodies:
        answers.write(_request(server, "POST", f"/predict?{query}", body, _BYTES))
        answers.flush()


def _bodies(lines: BinaryIO) -> Iterator[bytes]:
    for chunk in read_chunks(lines):
        if chunk:
            yield b"".join(chunk)


def _request(server: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> bytes:
    """Returns the body of the response; waits while the server has too much to do."""
    while True:
        with _connection(server) as connection:
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise UserError(f"--server: no answer from {server}: {reason}") from None
        if response.status == http.HTTPStatus.OK:
            return content
        if response.status not in (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE):
            raise UserError(f"{server}: {_reason(response, content)}")
        time.sleep(1)


def _connection(server: str) -> contextlib.closing[http.client.HTTPConnection]:
    try:
        parts = urllib.parse.urlsplit(server)
        if parts.scheme == "http" and parts.hostname and not parts.path.strip("/"):
            return contextlib.closing(http.client.HTTPConnection(parts.hostname, parts.port))
    except ValueError:  # of the port
        pass
    raise UserError(f"--server: {server!r} is not an address such as http://127.0.0.1:8000")


def _reason(response: http.client.HTTPResponse, content: bytes) -> str:
    """Returns the error that a response names; its status for another server's."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {response.reason}"
