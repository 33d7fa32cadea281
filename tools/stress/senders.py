"""Post many bodies from a few threads, each over one connection."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tools.bench.over_http import HOST
from tools.stress.server import ServerProcess

# Path, body and headers.
Bodies = Iterator[tuple[str, bytes, dict[str, str]]]


@contextmanager
def senders(
    server: ServerProcess, timeout_s: float
) -> Iterator[Callable[[Bodies], list[tuple[int, float]]]]:
    """Yield a function that posts bodies from four threads; it returns status and time of each."""
    local = threading.local()
    opened: list[http.client.HTTPConnection] = []

    def post(sent: tuple[str, bytes, dict[str, str]]) -> tuple[int, float]:
        connection: http.client.HTTPConnection | None = getattr(local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(HOST, server.port, timeout=timeout_s)
            local.connection = connection
            opened.append(connection)
        started = time.perf_counter()
        try:
            connection.request("POST", *sent)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        return status, time.perf_counter() - started

    lock = threading.Lock()

    def post_all(bodies: Bodies) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []

        def run() -> None:
            while True:
                with lock:
                    sent = next(bodies, None)
                if sent is None:
                    return
                found.append(post(sent))

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(run) for _ in range(4)]:
                future.result()
        return found

    try:
        yield post_all
    finally:
        for connection in opened:
            connection.close()
