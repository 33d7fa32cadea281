"""Helpers for tests of the web side: pictures, streams read back, and real servers to talk to."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask
from PIL import Image

from vlm.models.manager import Models
from vlm.results import EngineInfo, StreamEvent
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Request
from web.app import create_app
from web.server import Server, listen
from web.streaming import Admission
from worker_kit import wait_until

ROOT = Path(__file__).resolve().parent.parent
HANG_GUARD_S = 180.0
JPEG = {"Content-Type": "image/jpeg"}


def picture(
    image_format: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB"
) -> bytes:
    """An image file with a gradient, so that no two halves are alike."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(out, image_format)
    return out.getvalue()


def read_events(body: str) -> list[tuple[str, Any]]:
    """The events of a whole `text/event-stream`, comments left out."""
    events = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            name, data = lines
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class SteppedJob:
    """A request under way in a SteppedEngine, with the items that come of it."""

    def __init__(
        self,
        items: Generator[StreamEvent, None, None],
        is_cancelled: Callable[[], bool],
        on_close: Callable[[], None],
    ) -> None:
        self.items = items
        self.is_cancelled = is_cancelled
        self._on_close = on_close

    def close(self) -> None:
        self.items.close()
        self._on_close()


class SteppedEngine:
    """The real engine, waiting for `allow(n)` before each item, so that a test holds the clock."""

    max_batch = 1

    def __init__(self, engine: Any) -> None:
        self.info: EngineInfo = engine.info
        self.made = 0
        self.closed = 0
        self._engine = engine
        self._permits = threading.Semaphore(0)

    def allow(self, items: int) -> None:
        for _ in range(items):
            self._permits.release()

    def stream(
        self, request: Request, is_cancelled: Callable[[], bool]
    ) -> Generator[StreamEvent, None, None]:
        """What comes of one request; for those who want something else to come of it."""
        yield from self._engine.stream(request, is_cancelled)

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> SteppedJob:
        return SteppedJob(self.stream(request, is_cancelled), is_cancelled, self._count_closed)

    def advance(self, jobs: Sequence[SteppedJob]) -> list[list[StreamEvent | Exception]]:
        (job,) = jobs
        while not self._permits.acquire(timeout=0.01):
            if job.is_cancelled():
                return [[]]
        self.made += 1
        try:
            return [[next(job.items)]]
        except Exception as error:
            return [[error]]

    def rest(self, is_needed: Callable[[], bool]) -> None:
        """There is nothing to do between captions."""

    def close(self) -> None:
        """It holds nothing."""

    def _count_closed(self) -> None:
        self.closed += 1


def app_over(worker: Worker, settings: Settings | None = None) -> Flask:
    """The whole web application over a worker that the test starts and ends."""
    settings = settings or Settings()
    return create_app(settings, Models(settings, worker))


@contextmanager
def started(worker: Worker) -> Iterator[Worker]:
    """`worker` running and past loading; ended afterwards."""
    worker.start()
    try:
        wait_until(lambda: worker.state != "loading")
        yield worker
    finally:
        worker.close(timeout_s=HANG_GUARD_S)


class Served(NamedTuple):
    port: int
    admission: Admission


@contextmanager
def served(worker: Worker, settings: Settings) -> Iterator[Served]:
    """A real server over `worker`, in a thread of this process."""
    admission = Admission(settings.max_queue)
    app = create_app(settings, Models(settings, worker), admission)
    listener = listen("127.0.0.1", 0)
    server = Server(app, listener, admission.limit)
    server.start()
    try:
        yield Served(listener.getsockname()[1], admission)
    finally:
        admission.stop()
        server.stop()
        app.extensions["timeline"].close()


class SightlineProcess:
    """`python app.py` as a user starts it, on a free port."""

    def __init__(self, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        kept = ("SIGHTLINE_CACHE", "SIGHTLINE_OFFLINE")
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SIGHTLINE_") or name in kept
        }
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--port", "0", *args],
            cwd=ROOT,
            # Nobody reads stderr while the process runs, and a full pipe would hold it up.
            env={"SIGHTLINE_LOG_REQUESTS": "off"} | clean | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.port = int(re.search(r":(\d+)", self.wait_for_line("http://"))[1])  # type: ignore[index]

    def wait_for_line(self, words: str) -> str:
        """Return the next line of output that holds `words`; the guard ends a hanging process."""
        assert self.process.stdout is not None
        guard = threading.Timer(HANG_GUARD_S, self.process.kill)
        guard.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line)
                if words in line:
                    return line
        finally:
            guard.cancel()
        assert self.process.stderr is not None
        raise AssertionError(f"{words!r} never came: {self.lines} {self.process.stderr.read()}")

    def wait_until_ready(self) -> None:
        self.wait_for_line("Ready: ")

    def end(self) -> None:
        """Kills what a test has left running, and closes the pipes."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> SightlineProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, http.client.HTTPMessage, str]:
    """One request on a connection of its own: status, headers and the whole body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()
