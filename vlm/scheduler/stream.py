"""What the engine makes of one request, on its way from the worker to whoever asked."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from vlm.errors import SightlineError, StreamClosedError
from vlm.types import CaptionDone, CaptionRequest, StreamItem


class CaptionStream:
    """What the engine makes of one request, read by whoever submitted it."""

    def __init__(self, request: CaptionRequest, on_close: Callable[[CaptionStream], None]) -> None:
        self.request = request
        self.submitted_s = time.perf_counter()
        self.begun_s: float | None = None
        """When the engine began with it; for the worker."""
        self._on_close = on_close
        self._items: queue.SimpleQueue[StreamItem | SightlineError] = queue.SimpleQueue()
        self._last: CaptionDone | SightlineError | None = None
        self._closed = threading.Event()

    @property
    def queued_s(self) -> float:
        """How long it waited before the engine began; until now where that has not begun."""
        return (self.begun_s or time.perf_counter()) - self.submitted_s

    def next(self, timeout_s: float) -> StreamItem | None:
        """The next item, or None where none came within `timeout_s`.

        The CaptionDone is the last one; asked again, the stream repeats it. Raises BadRequestError
        where the model cannot be asked this, SupersededError where a newer frame of the camera took
        the place of one that waited, GenerationError where the pass failed, StreamClosedError where
        `close` was called, also while this call waits.
        """
        if self._last is None:
            try:
                item = self._items.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if not isinstance(item, CaptionDone | SightlineError):
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

    def put(self, item: StreamItem | SightlineError) -> None:
        """For the worker: the next item; a CaptionDone or an error ends the stream."""
        self._items.put(item)
