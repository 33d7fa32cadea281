"""The events of one request, on their way from the worker to the reader."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from vlm.errors import SightlineError, StreamClosedError
from vlm.events import Record
from vlm.types import Request, Result, StreamEvent


class Stream:
    """The events of one request. One thread reads; `close` may be called from any."""

    def __init__(self, request: Request, on_close: Callable[[Stream], None]) -> None:
        self.request = request
        self.submitted_at = time.time()
        self.record: Record | None = None
        """The end of the request; set before the reader receives the end."""
        self.started_s: float | None = None
        """When the engine began, by `time.perf_counter`; for the scheduler."""
        self._submitted_s = time.perf_counter()
        self._on_close = on_close
        self._events: queue.SimpleQueue[StreamEvent | SightlineError] = queue.SimpleQueue()
        self._last: Result | SightlineError | None = None
        self._closed = False

    @property
    def queued_s(self) -> float:
        """Seconds in the queue before the engine began; until now if it has not begun."""
        return (self.started_s or time.perf_counter()) - self._submitted_s

    def next(self, timeout_s: float) -> StreamEvent | None:
        """Return the next event, or None if none came within `timeout_s`.

        The Result is the last one; later calls return it again. Raise BadRequestError if the model
        cannot run the request, SupersededError if a newer frame of the camera replaced it in the
        queue, GenerationError if a pass failed, StreamClosedError if `close` was called, also while
        this call waits.
        """
        if self._last is None:
            try:
                event = self._events.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if not isinstance(event, Result | SightlineError):
                return event
            self._last = event
        if isinstance(self._last, SightlineError):
            raise self._last
        return self._last

    def close(self) -> None:
        """Cancel the work, within one token, and wake a blocked `next`. Idempotent."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._events.put(StreamClosedError("The stream was closed."))

    def is_closed(self) -> bool:
        """Return whether `close` was called."""
        return self._closed

    def put(self, event: StreamEvent | SightlineError) -> None:
        """Add an event; a Result or an error ends the stream. For the scheduler."""
        self._events.put(event)
