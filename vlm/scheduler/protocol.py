"""The protocol between worker and engine, and the errors for an engine's exceptions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, Protocol

from vlm.errors import (
    DeviceFailedError,
    GenerationError,
    ModelFailedError,
    SightlineError,
    first_line,
)
from vlm.results import EngineInfo, Result, StreamEvent
from vlm.types import Request

log = logging.getLogger("sightline")

OnEvent = Callable[[StreamEvent | Exception], None]


class Job(Protocol):
    """One request in flight in an engine."""

    def close(self) -> None:
        """Cancel the job and free its resources. Idempotent."""


class PullEngine(Protocol):
    """An engine that the worker advances step by step, such as `vlm.engine.engine.Engine`."""

    info: EngineInfo

    @property
    def max_batch(self) -> int:
        """Largest number of requests that it advances together."""

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> Any:
        """Return a Job for `request`, quickly; raise BadRequestError if it cannot be run."""

    def advance(self, jobs: Sequence[Any]) -> list[list[StreamEvent | Exception]]:
        """Advance each of `jobs` by one step; return the new events of each.

        The last event of a job is its Result, or the Exception that ended it.
        """

    def rest(self, is_needed: Callable[[], bool]) -> float | None:
        """Do what no request waits for, for one more pass at most once `is_needed`.

        Return after how many s to call it again, if no request comes; None: not before the next.
        """

    def close(self) -> None:
        """Free what the engine holds."""


class PushEngine(Protocol):
    """An engine whose jobs deliver their events by themselves, such as one over the network."""

    pushes: Literal[True]

    @property
    def info(self) -> EngineInfo:
        """What runs; another object if the model has changed."""

    @property
    def max_batch(self) -> int:
        """Largest number of requests in flight."""

    def begin(self, request: Request, on_event: OnEvent) -> Job:
        """Start `request`; `on_event` is called from another thread with each event.

        The last event is a Result, or the Exception that ended the request. None comes after the
        job was closed. Raise BadRequestError if the request cannot be run.
        """

    def close(self) -> None:
        """Cancel all jobs and free what the engine holds."""


AnyEngine = PullEngine | PushEngine


def never() -> bool:
    """Return False: the default `is_cancelled`."""
    return False


def stream_alone(engine: PullEngine, job: Job) -> Generator[StreamEvent, None, None]:
    """Yield the events of `job` of `engine`, advanced by itself; raise the Exception that ends it.

    Closing the generator cancels the job.
    """
    try:
        while True:
            for event in engine.advance([job])[0]:
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Result):
                    return
    finally:
        job.close()


def load_error(error: Exception) -> SightlineError:
    """Return the reason why a model could not be loaded, in words for people."""
    if isinstance(error, SightlineError):
        return error
    if isinstance(error, MemoryError):
        return ModelFailedError("There is not enough memory for this model. Choose a smaller one.")
    return ModelFailedError(f"The model could not be loaded: {first_line(error)}.")


def request_error(error: Exception) -> SightlineError:
    """Return the reason why a request failed, in words for people; log what they cannot use.

    The error has no traceback, which would keep the tensors of the pass alive.
    """
    if isinstance(error, DeviceFailedError):
        log.error("The accelerator failed in a request: %s", first_line(error))
        return GenerationError("The graphics card failed on this caption. Try again in a moment.")
    if isinstance(error, SightlineError):
        return error.with_traceback(None)
    if isinstance(error, MemoryError):
        log.error("Out of memory in a request: %s", error)
        return GenerationError(
            "There is not enough memory for this caption. Ask with detail=low, or start with a "
            "smaller model."
        )
    log.error("A request failed", exc_info=error)
    return GenerationError("The model failed on this caption. The server's log has the reason.")
