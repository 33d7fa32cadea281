"""Requests from their submission to their end: waiting, in flight, finished; and their streams.

Request threads submit, read and close; the worker's thread admits and finishes; a push engine's
thread finishes, too. `RequestQueue.changed` guards the state and is notified of every change.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from vlm.errors import (
    BusyError,
    GenerationError,
    SightlineError,
    StreamClosedError,
    SupersededError,
)
from vlm.events import Record, Subscriber
from vlm.results import Result, StreamEvent
from vlm.scheduler.protocol import Job
from vlm.scheduler.turns import TurnOrder
from vlm.types import Outcome, Request

# Upper bound of an engine's batch: each request in flight holds one of the server's threads.
MAX_IN_FLIGHT: Final = 32
MAX_RETRY_AFTER_S: Final = 60
CLOSED_MESSAGE: Final = "The server is shutting down."

# Weight of the newest request in the average time that Retry-After is computed from.
_NEWEST_WEIGHT: Final = 0.3
# Assumed time of a request before the first one was measured.
_FIRST_REQUEST_S: Final = 1.0


class Stream:
    """The events of one request. One thread reads; `close` may be called from any."""

    def __init__(self, request: Request, on_close: Callable[[Stream], None]) -> None:
        self.request = request
        self.submitted_at = time.time()
        self.record: Record | None = None
        """The end of the request; set before the reader receives the end."""
        self.started_s: float | None = None
        """Time when the engine began, by `time.perf_counter`; for the scheduler."""
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


class RequestQueue:
    """At most `max_waiting` requests wait, beside those in flight in the engine."""

    def __init__(self, max_waiting: int) -> None:
        self.changed = threading.Condition()
        self.max_batch = 1
        """Largest number of requests in flight."""
        self._max_waiting = max_waiting
        self._waiting: TurnOrder[Stream] = TurnOrder()
        # The job is None until the engine has begun.
        self._in_flight: dict[Stream, Job | None] = {}
        # In flight, and cancelled by their readers; the worker drops them.
        self._cancelled: set[Stream] = set()
        self._request_s = _FIRST_REQUEST_S
        self._closed = False
        self._subscribers: tuple[Subscriber, ...] = ()

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        with self.changed:
            return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """Number of requests in flight."""
        return len(self._in_flight)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Send `subscriber` the record of every later request."""
        with self.changed:
            self._subscribers = (*self._subscribers, subscriber)

    # -- request threads --

    def submit(self, request: Request) -> Stream:
        """Queue `request` and return its stream; raise BusyError if there is no room.

        A waiting live frame of the same camera is replaced: its stream ends with SupersededError.
        """
        stream = Stream(request, self._on_close)
        with self.changed:
            if self._closed:
                raise BusyError(CLOSED_MESSAGE)
            places = self._max_waiting + self.max_batch - len(self._in_flight)
            if not self._waiting.has_room(request, places):
                raise self._busy()
            older = self._waiting.add(stream)
            self.changed.notify_all()
        if older is not None:
            self._end(
                older, "superseded", SupersededError("A newer frame of this camera has come.")
            )
        return stream

    def refuse(self, request: Request, error: SightlineError) -> None:
        """Publish that `request` was refused with `error`."""
        self._publish(Record(request, "refused", time.time(), 0.0, error.code))

    def close(self) -> None:
        """Accept no more requests, and end those that wait."""
        with self.changed:
            self._closed = True
            waiting = list(self._waiting.drain())
            self.changed.notify_all()
        for stream in waiting:
            self._end(stream, "failed", GenerationError(CLOSED_MESSAGE))

    def _on_close(self, stream: Stream) -> None:
        with self.changed:
            if stream in self._in_flight:
                self._cancelled.add(stream)
                self.changed.notify_all()
            else:
                self._waiting.remove(stream)
        self._end(stream, "cancelled")

    def _busy(self) -> BusyError:
        ahead = len(self._waiting) + len(self._in_flight)
        wait_s = math.ceil(self._request_s * ahead / self.max_batch)
        retry_after_s = min(MAX_RETRY_AFTER_S, max(1, wait_s))
        return BusyError(
            f"{ahead} captions are being made already. Try again in {retry_after_s} s.",
            retry_after_s,
        )

    # -- the worker's thread --

    def has_work(self, pushes: bool) -> bool:
        """Return whether the worker has something to do; call it while `changed` is held.

        With an engine that `pushes`, requests in flight need no worker.
        """
        if self._cancelled or (self._in_flight and not pushes):
            return True
        return len(self._waiting) > 0 and len(self._in_flight) < self.max_batch

    def admit(self, max_batch: int) -> list[Stream]:
        """Move waiting requests into flight, in turn order, up to `max_batch`; return them."""
        with self.changed:
            self.max_batch = max(1, min(max_batch, MAX_IN_FLIGHT))
            admitted = []
            while len(self._in_flight) < self.max_batch and (stream := self._waiting.take()):
                stream.started_s = time.perf_counter()
                self._in_flight[stream] = None
                admitted.append(stream)
            return admitted

    def began(self, stream: Stream, job: Job) -> None:
        """Record that the engine runs `stream` as `job`."""
        with self.changed:
            if stream in self._in_flight:
                self._in_flight[stream] = job
                return
        # A push engine may end a request before `begin` has returned.
        job.close()

    def jobs(self) -> dict[Stream, Job]:
        """Return the jobs in flight, after dropping those whose readers cancelled."""
        with self.changed:
            cancelled, self._cancelled = self._cancelled, set()
        for stream in cancelled:
            self.finish(stream, GenerationError("The caption was cancelled."))
        with self.changed:
            return {stream: job for stream, job in self._in_flight.items() if job is not None}

    def finish(self, stream: Stream, end: Result | SightlineError) -> None:
        """End a request in flight: free its place, close its job, publish and deliver `end`."""
        with self.changed:
            if stream not in self._in_flight:
                return
            # Before the reader receives the end, so that it finds the place free.
            job = self._in_flight.pop(stream)
            self._cancelled.discard(stream)
            if stream.started_s is not None:
                taken_s = time.perf_counter() - stream.started_s
                self._request_s += _NEWEST_WEIGHT * (taken_s - self._request_s)
            self.changed.notify_all()
        try:
            if job is not None:
                job.close()
        finally:
            if isinstance(end, Result):
                queued_s, chosen = stream.queued_s, stream.request.chosen
                if chosen is not None:
                    # A frame that waited comes later the next time, when the machine is free: so
                    # cameras fall into turns without waiting.
                    chosen = replace(chosen, interval_s=chosen.interval_s + queued_s)
                end = replace(end, stats=replace(end.stats, queued_s=queued_s, chosen=chosen))
                is_cancelled = end.finish_reason == "cancelled"
                self._end(stream, "cancelled" if is_cancelled else "done", end)
            else:
                self._end(stream, "failed", end)

    def finish_all(self, error: SightlineError) -> None:
        """End all requests in flight with `error`."""
        for stream in [*self._in_flight]:
            self.finish(stream, error)

    def step_ran(self, batch_size: int) -> None:
        """Publish that one step advanced `batch_size` requests."""
        for subscriber in self._subscribers:
            subscriber.step_ran(batch_size)

    def forget_pace(self) -> None:
        """Reset the average time of a request: another engine has another."""
        self._request_s = _FIRST_REQUEST_S

    # -- endings --

    def _end(
        self, stream: Stream, outcome: Outcome, end: Result | SightlineError | None = None
    ) -> None:
        """Publish the end of `stream` once, then deliver `end`; the first ending counts."""
        result, error = (end, None) if isinstance(end, Result) else (None, end)
        record = Record(
            stream.request,
            outcome,
            stream.submitted_at,
            stream.queued_s,
            error.code if error is not None else None,
            result,
        )
        with self.changed:
            if stream.record is not None:
                return
            stream.record = record
        try:
            self._publish(record)
        finally:
            if end is not None:
                stream.put(end)

    def _publish(self, record: Record) -> None:
        for subscriber in self._subscribers:
            subscriber.request_ended(record)
