"""What the worker needs of an engine, and what people are told where one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from vlm.errors import GenerationError, ModelFailedError, SightlineError
from vlm.types import EngineInfo, Request, Result, StreamEvent

log = logging.getLogger("sightline")


class Job(Protocol):
    """One request under way in an engine."""

    def close(self) -> None:
        """Give it up and free what it holds. Idempotent."""


class EngineProtocol(Protocol):
    """An engine, for one thread: `vlm.engine.engine.Engine` and its kin."""

    info: EngineInfo

    @property
    def at_once(self) -> int:
        """How many requests it advances together at most."""

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> Any:
        """A Job for `request`; quick. Raises BadRequestError for what cannot be asked."""

    def advance(self, jobs: Sequence[Any]) -> list[list[StreamEvent | Exception]]:
        """One step further for each of `jobs`, and what each has made since the last one.

        The last item of a job is its Result, or the Exception that ended it.
        """

    def close(self) -> None:
        """The engine is given up."""


def never() -> bool:
    """For whoever gives nothing up."""
    return False


def stream_alone(
    engine: EngineProtocol, request: Request, is_cancelled: Callable[[], bool]
) -> Generator[StreamEvent, None, None]:
    """What `engine` makes of `request` with nothing beside it; raises the Exception that ends it.

    The job is given up where the generator is closed.
    """
    job = engine.begin(request, is_cancelled)
    try:
        while True:
            for item in engine.advance([job])[0]:
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, Result):
                    return
    finally:
        job.close()


def load_error(error: Exception) -> SightlineError:
    """Why a model could not be loaded, in words for people."""
    if isinstance(error, SightlineError):
        return error
    if isinstance(error, MemoryError):
        return ModelFailedError("There is not enough memory for this model. Choose a smaller one.")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelFailedError(f"The model could not be loaded: {reason}")


def request_error(error: Exception) -> SightlineError:
    """Why a caption failed, in words for people; the log is told what they are not.

    It has no traceback, which would keep the tensors of the pass alive.
    """
    if isinstance(error, SightlineError):
        return error.with_traceback(None)
    if isinstance(error, MemoryError):
        log.error("Out of memory in a caption: %s", error)
        return GenerationError(
            "There is not enough memory for this caption. Ask with detail=low, or start with a "
            "smaller model."
        )
    log.error("A caption failed", exc_info=error)
    return GenerationError("The model failed on this caption. The server's log tells why.")
