"""Helpers for tests of remote engines: an engine over the test's servers, and its answers."""

from __future__ import annotations

import queue
import random
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from PIL import Image
from upstream_server import UpstreamServer

from vlm.errors import SightlineError
from vlm.remote.engine import RemoteEngine
from vlm.remote.upstream import UpstreamLimits
from vlm.results import Result, StreamEvent, TokenChunk
from vlm.settings import Settings
from vlm.types import Request
from worker_kit import GUARD_S

# Short pauses between retries, and time limits that a slow machine does not reach.
LIMITS = UpstreamLimits(
    connect_s=60.0,
    first_text_s=60.0,
    silence_s=60.0,
    answer_s=60.0,
    wait_s=60.0,
    check_every_s=0.02,
    check_s=60.0,
    pause_s=0.01,
    longest_pause_s=0.02,
)
FRAME = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
QUESTION = Request.about(FRAME, "What is this?", 16)


@contextmanager
def engine_over(
    *servers: UpstreamServer, settings: Settings | None = None, **limits: Any
) -> Iterator[RemoteEngine]:
    """Yield an open engine over `servers`; `limits` are those that differ from LIMITS."""
    base_urls = tuple(each.base_url for each in servers)
    settings = replace(settings or Settings(), engine="openai", base_url=base_urls)
    engine = RemoteEngine(settings, replace(LIMITS, **limits), random.Random(0))
    try:
        engine.open(lambda _: None)
        yield engine
    finally:
        engine.close()


class Running:
    """A request in flight, and its events so far."""

    def __init__(self, engine: RemoteEngine, request: Request) -> None:
        self.events: queue.SimpleQueue[StreamEvent | Exception] = queue.SimpleQueue()
        self.job = engine.begin(request, self.events.put)

    def read(self) -> Generator[StreamEvent, None, None]:
        """Yield events as they arrive, up to the Result; raise the Exception that ends them."""
        while True:
            event = self.events.get(timeout=GUARD_S)
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Result):
                return

    def result(self) -> Result:
        """Return the Result; raise the Exception that ends the request."""
        *_, result = self.read()
        assert isinstance(result, Result)
        return result

    def close(self) -> None:
        self.job.close()


def stream(engine: RemoteEngine, request: Request = QUESTION) -> Generator[StreamEvent, None, None]:
    """Yield the events of one request; closing the generator cancels it."""
    with closing(Running(engine, request)) as running:
        yield from running.read()


def caption(engine: RemoteEngine, request: Request = QUESTION) -> Result:
    """Return the Result of one request, whose chunks must be its text."""
    *chunks, result = stream(engine, request)
    assert isinstance(result, Result)
    texts = [chunk.text for chunk in chunks if isinstance(chunk, TokenChunk)]
    assert len(texts) == len(chunks)
    assert "".join(texts) == result.text
    return result


def captions(engine: RemoteEngine, count: int) -> list[str]:
    """Return the texts of `count` requests that are in flight together."""
    in_flight = [Running(engine, QUESTION) for _ in range(count)]
    return [each.result().text for each in in_flight]


def failure(engine: RemoteEngine, request: Request = QUESTION) -> SightlineError:
    """Return the error of one request, which must not deliver a Result."""
    try:
        for event in stream(engine, request):
            assert isinstance(event, TokenChunk), "an incomplete answer has a Result"
    except SightlineError as error:
        return error
    raise AssertionError("the stream ended without an error")
