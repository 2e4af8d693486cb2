"""Many clients of a running server, each of which sends one line at a time and waits for its answer.

    python -m tests.load http://127.0.0.1:8000 200 < words.txt > phones.txt

Writes the answers in the order of the lines, then how long they took to stderr.
"""

import http.client
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator


def main(server: str, number: int, lines: list[bytes]) -> None:
    """Has a number of clients ask the server for every line once."""
    answers, seconds = [b""] * len(lines), [0.0] * len(lines)
    waiting = iter(enumerate(lines))
    lock = threading.Lock()
    clients = [threading.Thread(target=_ask, args=(server, waiting, lock, answers, seconds)) for _ in range(number)]
    begin = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    elapsed, ordered = time.perf_counter() - begin, sorted(seconds)
    sys.stdout.buffer.write(b"".join(answers))
    shares = ", ".join(f"p{share} {1000 * ordered[share * len(lines) // 100]:.1f} ms" for share in (50, 95, 99))
    print(f"{len(lines)} lines, {number} at a time, in {elapsed:.1f} s: {shares}", file=sys.stderr)


def _ask(
    server: str, waiting: Iterator[tuple[int, bytes]], lock: threading.Lock, answers: list[bytes], seconds: list[float]
) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server).netloc)
    while True:
        with lock:
            number, line = next(waiting, (-1, b""))
        if number < 0:
            return
        begin = time.perf_counter()
        connection.request("POST", "/predict", line, {"Content-Type": "text/plain"})
        response = connection.getresponse()
        answers[number] = response.read()
        seconds[number] = time.perf_counter() - begin
        assert response.status == 200, answers[number]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.readlines())
