"""What the engine makes of one request, on its way from the worker to whoever asked."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from vlm.errors import SightlineError, StreamClosedError
from vlm.types import Request, Result, StreamEvent


class Stream:
    """What the engine makes of one request, read by whoever submitted it."""

    def __init__(self, request: Request, on_close: Callable[[Stream], None]) -> None:
        self.request = request
        self.submitted_s = time.perf_counter()
        self.begun_s: float | None = None
        """When the engine began with it; for the worker."""
        self._on_close = on_close
        self._items: queue.SimpleQueue[StreamEvent | SightlineError] = queue.SimpleQueue()
        self._last: Result | SightlineError | None = None
        self._closed = threading.Event()

    @property
    def queued_s(self) -> float:
        """How long it waited before the engine began; until now where that has not begun."""
        return (self.begun_s or time.perf_counter()) - self.submitted_s

    def next(self, timeout_s: float) -> StreamEvent | None:
        """The next item, or None where none came within `timeout_s`.

        The Result is the last one; asked again, the stream repeats it. Raises BadRequestError
        where the model cannot be asked this, SupersededError where a newer frame of the camera took
        the place of one that waited, GenerationError where the pass failed, StreamClosedError where
        `close` was called, also while this call waits.
        """
        if self._last is None:
            try:
                item = self._items.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if not isinstance(item, Result | SightlineError):
                return item
            self._last = item
        if isinstance(self._last, SightlineError):
            raise self._last
        return self._last

    def close(self) -> None:
        """Cancel the work, within one token, and wake a blocked `next`.

        Idempotent. Any thread may call it.
        """
        if not self._closed.is_set():
            self._closed.set()
            self._items.put(StreamClosedError("The stream was closed."))
            self._on_close(self)

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def put(self, item: StreamEvent | SightlineError) -> None:
        """For the worker: the next item; a Result or an error ends the stream."""
        self._items.put(item)
