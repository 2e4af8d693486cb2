"""The HTTP server: its routes, its start and its stop."""

import asyncio
import errno
import signal
import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from rnnlab.errors import UserError
from rnnlab.printing import show, to_json
from rnnlab.run import Run
from rnnlab.serving.request import Refused, option_kinds, read_body, read_question
from rnnlab.serving.worker import Full, Worker
from rnnlab.tasks.base import Task

HOST = "127.0.0.1"
_MOST_CONNECTIONS = 1024  # further ones are answered with status 503
_NOT_READ = 499  # of a response that nobody reads


def serve(task: Task, port: int) -> int:
    """Answers requests until SIGINT or SIGTERM, then what still waits; a second SIGINT stops at once.

    Args:
      task: of the run to use, with the default options.
      port: to listen on; 0 takes a free one. The line that is printed names it.

    Returns:
      the signal.

    Raises:
      UserError: the port is not available, or the task does not predict from lines.
    """
    with _listen(port) as listening, Worker(Run(task)) as worker:
        # the same ones, whatever else is installed
        how: dict[str, Any] = {"loop": "asyncio", "http": "h11", "ws": "none", "lifespan": "off"}
        how |= {"log_config": None, "log_level": "error", "access_log": False, "server_header": False}
        server = uvicorn.Server(uvicorn.Config(make_app(worker), limit_concurrency=_MOST_CONNECTIONS, **how))
        received: list[int] = []
        for signum in (signal.SIGINT, signal.SIGTERM):  # which uvicorn raises again once it has stopped
            signal.signal(signum, lambda number, _: received.append(number))
        listening.listen(_MOST_CONNECTIONS)
        show(f"{task.workdir}: answers at http://{HOST}:{listening.getsockname()[1]} until Ctrl-C")
        server.run(sockets=[listening])
    return received[0]


def _listen(port: int) -> socket.socket:
    """Takes a port, before the model is loaded."""
    found = socket.socket(proto=socket.IPPROTO_TCP)  # without which asyncio leaves Nagle's algorithm on: 40 ms
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also right after another server has stopped
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise UserError(f"--port: {port} {reason}; choose another, or 0 for a free one") from None
    return found


def make_app(worker: Worker) -> Starlette:
    """Makes the application that asks a worker."""
    kinds = option_kinds(worker.run.task)

    async def predict(request: Request) -> Response:
        try:
            return await answer(request)
        except asyncio.CancelledError:  # a second Ctrl-C ends every task
            return Response(status_code=_NOT_READ)

    async def answer(request: Request) -> Response:
        body = await read_body(request)
        question = read_question(request, body, kinds, takes_whole=worker.takes_whole)
        reply = asyncio.wrap_future(worker.ask(question))
        leaving = asyncio.ensure_future(request.receive())
        both: set[asyncio.Future[Any]] = {reply, leaving}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not reply.done():
            reply.cancel()
            return Response(status_code=_NOT_READ)
        answers, continued = reply.result()
        if request.headers.get("content-type", "").startswith("application/json"):
            return _json({"answers": answers} | ({"continued": continued} if question.stream else {}))
        return Response("".join(f"{answer}\n" for answer in answers), media_type="text/plain")

    async def health(_: Request) -> Response:
        run = worker.run
        facts = {"task": run.config.experiment, "workdir": str(run.task.workdir), "step": run.step}
        how = {"reads": "file" if worker.takes_whole else "lines", "options": list(kinds)}
        return _json({"status": "ready", **facts, **how, "warm": worker.is_warm, "waiting": worker.waiting})

    return Starlette(
        routes=[Route("/predict", predict, methods=["POST"]), Route("/health", health)],
        exception_handlers={
            Refused: lambda _, error: _json({"error": str(error)}, error.status),
            UserError: lambda _, error: _json({"error": " ".join(str(error).split())}, 400),
            Full: lambda *_: _json({"error": "too many requests wait; try again later"}, 429, {"Retry-After": "1"}),
            ClientDisconnect: lambda *_: Response(status_code=_NOT_READ),
            HTTPException: lambda _, error: _json({"error": error.detail}, error.status_code, error.headers),
            Exception: lambda *_: _json({"error": "an error of the server; its log has the details"}, 500),
        },
    )


def _json(value: dict, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, "application/json")
