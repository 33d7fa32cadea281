"""Submit requests, bound how many are in flight, and read their events until the client leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import flask

from vlm.errors import BusyError, StreamClosedError
from vlm.scheduler.queue import MAX_IN_FLIGHT, Stream
from vlm.scheduler.worker import Worker
from vlm.types import Result, StreamEvent
from web.errors import StoppingError
from web.request_log import RequestLog
from web.wsgi import ON_HANG_UP

# After so long without an event the client receives a comment line, as a sign of life.
KEEPALIVE_S = 1.0
RETRY_AFTER_S = 1


class Admission:
    """Counts requests from the first look at their body to the end of their stream.

    Each holds a server thread meanwhile, so at most `limit` are admitted and others are refused at
    once.
    """

    def __init__(self, max_queue: int) -> None:
        """Admit `max_queue` requests beside those that an engine runs.

        The worker knows how many those are, and refuses the rest with a better message.
        """
        self.limit = max_queue + MAX_IN_FLIGHT
        self.in_flight = 0
        self.stopping = False
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for the block; raise BusyError if none is free."""
        with self._lock:
            if self.stopping or self.in_flight >= self.limit:
                raise BusyError(
                    f"Too many captions are in progress. Try again in {RETRY_AFTER_S} s.",
                    RETRY_AFTER_S,
                )
            self.in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self.in_flight -= 1

    @contextmanager
    def submitted(self, worker: Worker, entry: RequestLog) -> Iterator[Stream]:
        """Submit the request of `entry` to `worker`, and close its stream at the end of the block.

        The stream is also closed when the HTTP client disconnects, and when the server stops. Raise
        the SightlineError with which the worker refuses.
        """
        assert entry.request is not None, "the route sets it first"
        entry.stream = stream = worker.submit(entry.request)
        with self._lock:
            self._streams.add(stream)
        try:
            if self.stopping:
                stream.close()
            # Absent if the application runs without the server, as in Flask's test client.
            on_hang_up = flask.request.environ.get(ON_HANG_UP)
            if on_hang_up is not None:
                on_hang_up(stream.close)
            yield stream
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def stop(self) -> None:
        """Admit no more requests and close the streams in flight."""
        self.stopping = True
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()


def read_events(
    stream: Stream, admission: Admission, entry: RequestLog
) -> Iterator[StreamEvent | None]:
    """Yield the events of `stream`, the Result last, and None after each KEEPALIVE_S without any.

    End early if the client has disconnected. Raise the SightlineError that ended the stream, and
    StoppingError if the server stops.
    """
    while True:
        try:
            event = stream.next(timeout_s=KEEPALIVE_S)
        except StreamClosedError:
            if not admission.stopping:
                return
            entry.error_code = StoppingError.code
            raise StoppingError("The server is shutting down.") from None
        yield event
        if isinstance(event, Result):
            return
