"""From a request to a question: what is read of it, and its limits."""

import asyncio
import contextlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from rnnlab.lines import LINES_AT_ONCE
from rnnlab.serving.worker import Question
from rnnlab.tasks.base import Task

MOST_LINES, MOST_LINE_BYTES = LINES_AT_ONCE, 2**14
MOST_BODY_BYTES = MOST_LINES * MOST_LINE_BYTES
_BODY_SECONDS = 30  # for a body to arrive
_STREAM_NAME = 200  # maximum characters
_OPTIONS = (  # none of them reads or writes a file
    "n_best",
    "token_scores",
    "beam_size",
    "max_tokens",
    "length_penalty",
    "coverage_penalty",
    "temperature",
    "top_k",
    "top_p",
    "stop",
)
_MOST, _LARGEST = {"beam_size": 100, "max_tokens": 10_000}, 2**31 - 1


class Refused(Exception):
    """A request that is not answered: the status and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


def option_kinds(task: Task) -> dict[str, type]:
    """Returns the options that a request may have, with their types."""
    parameters = inspect.signature(task.predictor).parameters
    kinds = {name: type(value) for name, value in task.config.evaluation.items()}
    kinds |= {name: type(parameter.default) for name, parameter in parameters.items()}
    return {name: kinds[name] for name in _OPTIONS if name in kinds}


async def read_body(request: Request) -> bytes:
    """Reads the body of a request.

    Raises:
      Refused: it is too large, or does not arrive in time.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > MOST_BODY_BYTES:
                    raise Refused(413, f"the body is longer than {MOST_BODY_BYTES:,} bytes")
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {_BODY_SECONDS} seconds") from None
    return b"".join(parts)


def read_question(request: Request, body: bytes, kinds: Mapping[str, type], *, takes_whole: bool) -> Question:
    """Reads a question.

    Args:
      request: its Content-Type is application/json for a body with `lines` and options. Any other body is what
        `--mode=predict` reads from standard input, and the query has the options; only application/octet-stream may
        hold bytes that are not UTF-8.
      body: of the request.
      kinds: the known options with their types.
      takes_whole: whether the task reads a file instead of lines.

    Raises:
      Refused: names what is wrong and what is allowed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        if request.query_params:
            raise Refused(400, "the options of a request in JSON belong to its body, not to its query")
        lines, options = _read_json(body)
        body = b"\n".join(lines)
    else:
        if kind != "application/octet-stream":
            _check_text(body)
        lines = body.removesuffix(b"\n").split(b"\n") if body else []
        options = {name: _from_text(name, text, kinds) for name, text in request.query_params.items()}
    stream = options.pop("stream", "")
    checked = {name: _check_option(name, value, kinds) for name, value in sorted(options.items())}
    if takes_whole:
        lines = [body]
    else:
        _check_lines(lines)
    if stream != "":
        _check_stream(stream, lines)
        lines = lines or [b""]  # which only writes
    return Question(lines, tuple(checked.items()), stream)


def _read_json(body: bytes) -> tuple[list[bytes], dict[str, Any]]:
    """Returns the lines and the other entries of a request in JSON."""
    try:
        found = json.loads(body.decode())
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise Refused(400, f"the body is not JSON: {reason}") from None
    texts = found.pop("lines", None) if isinstance(found, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(400, 'the body must be an object with "lines", a list of texts, and options')
    for number, text in enumerate(texts):
        if "\n" in text or "\r" in text:
            raise Refused(400, f"lines[{number}] has a line break; a language model reads \\n as one")
    try:
        return [text.encode() for text in texts], found
    except UnicodeEncodeError as error:
        raise Refused(400, f"lines: a surrogate is not text ({error.reason})") from None


def _check_text(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Refused(400, f"line {line} is not UTF-8; bytes need Content-Type: application/octet-stream") from None


def _check_lines(lines: list[bytes]) -> None:
    if len(lines) > MOST_LINES:
        raise Refused(413, f"{len(lines):,} lines; a request may have {MOST_LINES:,}")
    for number, line in enumerate(lines, start=1):
        if len(line) > MOST_LINE_BYTES:
            raise Refused(413, f"line {number} has {len(line):,} bytes; it may have {MOST_LINE_BYTES:,}")


def _check_stream(stream: Any, lines: list[bytes]) -> None:
    if not isinstance(stream, str) or len(stream) > _STREAM_NAME:
        raise Refused(400, f"stream: must be a name of at most {_STREAM_NAME} characters")
    if len(lines) > 1:
        raise Refused(400, f"stream: continues with one line for each request, not with {len(lines):,}")


def _from_text(name: str, text: str, kinds: Mapping[str, type]) -> Any:
    """Reads the value of an option in a query; one that is not of its type stays a text."""
    read: dict[type, Callable[[str], Any]] = {int: int, float: float, bool: {"true": True, "false": False}.__getitem__}
    try:
        return read.get(kinds.get(name, str), str)(text)
    except (ValueError, KeyError):
        return text


def _check_option(name: str, value: Any, kinds: Mapping[str, type]) -> Any:
    """Returns the value of an option in its type."""
    if name not in kinds:
        raise Refused(400, f"{name}: unknown option; allowed: {', '.join((*kinds, 'stream'))}")
    if kinds[name] is float and type(value) is int:
        with contextlib.suppress(OverflowError):
            value = float(value)
    if type(value) is not kinds[name]:
        raise Refused(400, f"{name}: must be of type {kinds[name].__name__}")
    most = _MOST.get(name, _LARGEST)
    if isinstance(value, int) and not 0 <= value <= most:
        raise Refused(400, f"{name}: {value} is not allowed; it must be from 0 to {most:,}")
    return value
