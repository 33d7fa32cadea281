"""Helpers for tests of the worker: engines whose steps a test decides, and streams read back."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from vlm.engine import Engine
from vlm.types import CaptionDone, CaptionRequest, EngineInfo, StreamItem
from vlm.worker import CaptionStream, Worker

# Only keeps a broken test from hanging; nothing is asserted on it.
GUARD_S = 120.0
QUESTION = "What is this?"


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + GUARD_S
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.005)


@contextmanager
def running(engine: object, max_queue: int = 8) -> Iterator[Worker]:
    worker = Worker(lambda: engine, max_queue)  # type: ignore[arg-type, return-value]
    worker.start()
    try:
        wait_until(lambda: worker.state != "loading")
        yield worker
    finally:
        worker.close(GUARD_S)


def read(stream: CaptionStream) -> list[StreamItem]:
    items = []
    while True:
        item = stream.next(GUARD_S)
        assert item is not None, "the stream hangs"
        items.append(item)
        if isinstance(item, CaptionDone):
            return items


def text_of(stream: CaptionStream) -> str:
    done = read(stream)[-1]
    assert isinstance(done, CaptionDone)
    return done.text


class HeldEngine:
    """The real engine, which makes one token for each `allow`, so that a test decides when."""

    def __init__(self, engine: Engine) -> None:
        self.info: EngineInfo = engine.info
        self.begun: list[CaptionRequest] = []
        self.tokens = 0
        self._engine = engine
        self._permits = threading.Semaphore(0)

    def allow(self, tokens: int) -> None:
        for _ in range(tokens):
            self._permits.release()

    def stream(
        self, request: CaptionRequest, is_cancelled: Callable[[], bool]
    ) -> Generator[StreamItem, None, None]:
        self.begun.append(request)

        def asked_before_each_token() -> bool:
            while not self._permits.acquire(timeout=0.005):
                if is_cancelled():
                    return True
            self.tokens += 1
            return is_cancelled()

        yield from self._engine.stream(request, asked_before_each_token)


class FailingEngine:
    """The real engine, in which `fault` strikes between two tokens of the first request."""

    def __init__(self, engine: Engine, fault: BaseException) -> None:
        self.info = engine.info
        self._engine = engine
        self._fault: BaseException | None = fault

    def stream(
        self, request: CaptionRequest, is_cancelled: Callable[[], bool]
    ) -> Generator[StreamItem, None, None]:
        asked = itertools.count()

        def struck() -> bool:
            if self._fault is not None and next(asked) == 4:
                fault, self._fault = self._fault, None
                raise fault
            return is_cancelled()

        yield from self._engine.stream(request, struck)
