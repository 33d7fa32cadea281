"""Submit requests, bound how many are in flight, and read their events until the client leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import flask
from flask import Response
from PIL import Image

from vlm.errors import BusyError, ModelFailedError, NotReadyError, StreamClosedError
from vlm.images.frame import Frame
from vlm.results import EngineInfo, Result, StreamEvent
from vlm.scheduler.queue import MAX_IN_FLIGHT, Stream
from vlm.scheduler.worker import Worker
from vlm.types import Request, Task
from web.errors import StoppingError
from web.request_log import RequestLog, request_log
from web.wsgi import ON_HANG_UP

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# After so long without an event the client receives a comment line, as a sign of life.
KEEPALIVE_S = 1.0
RETRY_AFTER_S = 1
# A comment line of server-sent events, as a sign of life.
WAITING = ": waiting\n\n"
# Of the bodies, then the pictures, of all requests in flight. Those up to ORDINARY_BYTES, about a
# megapixel, are counted and always accepted.
MAX_HELD_BYTES = 512 * 2**20
ORDINARY_BYTES = 4 * 2**20


class Place:
    """One request's place, and the memory that it holds there. One thread uses it."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0

    def hold(self, size: int) -> None:
        """Count `size` bytes from now on, instead of those before; raise BusyError."""
        self._admission.count_bytes(self._bytes, size)
        self._bytes = size

    def hold_images(self, images: Iterable[Image.Image]) -> None:
        """Count the pixels of `images` from now on; raise BusyError."""
        self.hold(sum(each.width * each.height * len(each.getbands()) for each in images))


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
        self.held_bytes = 0
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Hold a place for the block; raise BusyError if none is free."""
        with self._lock:
            if self.stopping or self.in_flight >= self.limit:
                raise BusyError(
                    f"Too many captions are in progress. Try again in {RETRY_AFTER_S} s.",
                    RETRY_AFTER_S,
                )
            self.in_flight += 1
        place = Place(self)
        try:
            yield place
        finally:
            place.hold(0)
            with self._lock:
                self.in_flight -= 1

    def count_bytes(self, before: int, now: int) -> None:
        """Count `now` bytes for a request that had `before`; raise BusyError if that is too much.

        Ordinary frames always find room.
        """
        with self._lock:
            held = self.held_bytes - before + now
            if now > max(before, ORDINARY_BYTES) and held > MAX_HELD_BYTES:
                raise BusyError(
                    f"Too many large pictures are in progress. Try again in {RETRY_AFTER_S} s.",
                    RETRY_AFTER_S,
                )
            self.held_bytes = held

    @contextmanager
    def submitted(
        self, worker: Worker, entry: RequestLog, environ: WSGIEnvironment | None = None
    ) -> Iterator[Stream]:
        """Submit the request of `entry` to `worker`, and close its stream at the end of the block.

        `environ` is that of the HTTP request, which must be given while its answer is streamed.
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
            on_hang_up = (environ or flask.request.environ).get(ON_HANG_UP)
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


def running_model(worker: Worker) -> EngineInfo:
    """Return what runs; raises NotReadyError or ModelFailedError."""
    info = worker.info
    if info is None:
        if worker.state == "failed":
            raise ModelFailedError(str(worker.error))
        raise NotReadyError("The model is still loading. Try again in a few seconds.")
    return info


def run_task(
    task: Task, frame: Frame, worker: Worker, admission: Admission, held: ExitStack
) -> Result | None:
    """Return the result of `task` about `frame`; None if it was cancelled: the client has left.

    Its stream is closed with `held`.
    """
    entry = request_log()
    entry.wants_answer = True
    entry.request = Request(task, camera=frame.camera, frame=frame)
    stream = held.enter_context(admission.submitted(worker, entry))
    last = None
    for event in read_events(stream, admission, entry):
        last = event
    is_complete = isinstance(last, Result) and last.finish_reason != "cancelled"
    return last if isinstance(last, Result) and is_complete else None


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


def server_sent(name: str, data: object) -> str:
    """Return a server-sent event whose data is JSON."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def event_stream(events: Iterator[str]) -> Response:
    """Return a response that streams server-sent events, which no proxy holds back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(events, mimetype="text/event-stream", headers=headers)
