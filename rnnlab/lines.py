"""Lines as they arrive: of a file, of a pipe, of somebody who types. Imports only `errors`."""

import queue
import threading
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from rnnlab.errors import UserError

LINES_AT_ONCE = 2048  # maximum lines predicted together, so that length buckets fill up


def read_whole(lines: BinaryIO) -> bytes:
    """Reads the whole input.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return lines.read()
    except OSError as error:
        raise UserError(f"the input to predict cannot be read: {error.strerror or error}") from None


class _End(NamedTuple):
    """The end of the lines, and the error that caused it, if any."""

    failure: Exception | None


def read_chunks(lines: BinaryIO) -> Iterator[list[bytes]]:
    """Yields the available lines, up to `LINES_AT_ONCE`, waiting only for the first.

    Raises:
      UserError: the lines cannot be read any further.
    """
    waiting: queue.Queue[bytes | _End] = queue.Queue(2 * LINES_AT_ONCE)

    def read():
        failure = None
        try:
            for line in lines:
                waiting.put(line)
        except Exception as error:  # depends on where the lines come from
            failure = error
        waiting.put(_End(failure))

    threading.Thread(None, read, daemon=True).start()
    end = None
    while end is None:
        chunk: list[bytes] = []
        while end is None and len(chunk) < LINES_AT_ONCE and not (chunk and waiting.empty()):
            got = waiting.get()
            if isinstance(got, _End):
                end = got
            else:
                chunk.append(got)
        yield chunk
    if (failure := end.failure) is not None:
        reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
        raise UserError(f"the lines to predict cannot be read any further: {reason}")
