"""Helpers for tests of the worker: engines that a test steps, and readers of streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vlm.engine.engine import Engine
from vlm.engine.jobs import EngineJob
from vlm.results import EngineInfo, Result, StreamEvent
from vlm.scheduler.queue import Stream
from vlm.scheduler.worker import Worker
from vlm.types import Request

# Ends a test that hangs; nothing is asserted on it.
GUARD_S = 120.0
QUESTION = "What is this?"


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + GUARD_S
    while not condition():
        assert time.monotonic() < limit, "timed out"
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


def read(stream: Stream) -> list[StreamEvent]:
    items = []
    while True:
        item = stream.next(GUARD_S)
        assert item is not None, "the stream hangs"
        items.append(item)
        if isinstance(item, Result):
            return items


def text_of(stream: Stream) -> str:
    done = read(stream)[-1]
    assert isinstance(done, Result)
    return done.text


@dataclass(eq=False)
class SteppedJob:
    """A request in flight in an engine of this module."""

    request: Request
    is_cancelled: Callable[[], bool]
    inner: EngineJob
    """The job of the real engine."""
    steps: int = 0
    closed: bool = False

    def close(self) -> None:
        self.closed = True
        self.inner.close()


class SteppedEngine:
    """The real engine, which runs one step for each permit of `allow`."""

    def __init__(self, engine: Engine, max_batch: int = 1) -> None:
        self.info: EngineInfo = engine.info
        self.max_batch = max_batch
        self.begun: list[Request] = []
        self.jobs: list[SteppedJob] = []
        self.steps: list[int] = []
        """The batch size of each step."""
        self.closed = False
        self._engine = engine
        self._permits = threading.Semaphore(0)

    def allow(self, steps: int) -> None:
        for _ in range(steps):
            self._permits.release()

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> SteppedJob:
        job = SteppedJob(request, is_cancelled, self._engine.begin(request, is_cancelled))
        self.begun.append(request)
        self.jobs.append(job)
        return job

    def advance(self, jobs: Sequence[SteppedJob]) -> list[list[StreamEvent | Exception]]:
        while not self._permits.acquire(timeout=0.005):
            if any(job.is_cancelled() for job in jobs):
                return [[] for _ in jobs]
        self.steps.append(len(jobs))
        for job in jobs:
            job.steps += 1
        return self.advance_now(jobs)

    def advance_now(self, jobs: Sequence[SteppedJob]) -> list[list[StreamEvent | Exception]]:
        return self._engine.advance([job.inner for job in jobs])

    def rest(self, is_needed: Callable[[], bool]) -> None:
        """There is nothing to do between captions."""

    def close(self) -> None:
        self.closed = True


class FailingEngine(SteppedEngine):
    """The real engine, in which `fault` strikes the first request once, in its fourth step.

    It is what came of that request alone; or, with `of_all`, `advance` itself raises it.
    """

    def __init__(
        self, engine: Engine, fault: BaseException, max_batch: int = 1, of_all: bool = False
    ) -> None:
        super().__init__(engine, max_batch)
        self._fault: BaseException | None = fault
        self._of_all = of_all
        self.allow(100_000)

    def advance_now(self, jobs: Sequence[SteppedJob]) -> list[list[StreamEvent | Exception]]:
        struck = [job for job in jobs if job is self.jobs[0] and job.steps == 4]
        if not struck or self._fault is None:
            return super().advance_now(jobs)
        fault, self._fault = self._fault, None
        if self._of_all or not isinstance(fault, Exception):
            raise fault
        others = iter(super().advance_now([job for job in jobs if job not in struck]))
        return [[fault] if job in struck else next(others) for job in jobs]
