"""The one thread that owns the engine: it loads the engine, then runs requests from the queue.

Requests join and leave between two steps. Another engine can replace the first one. A thread that
dies is replaced by a new one, which continues with the same engine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, cast

from vlm.errors import (
    DeviceFailedError,
    GenerationError,
    ModelFailedError,
    NotReadyError,
    SightlineError,
    first_line,
)
from vlm.events import Subscriber
from vlm.results import EngineInfo, EngineState, Result, StreamEvent
from vlm.scheduler.protocol import AnyEngine, PullEngine, PushEngine, load_error, request_error
from vlm.scheduler.queue import CLOSED_MESSAGE, RequestQueue, Stream
from vlm.types import Request

log = logging.getLogger("sightline")

# An accelerator whose memory others have taken fails each request; a single large one fails too.
_MAX_MEMORY_ERRORS: Final = 3
# A load that has killed its thread this often is not tried again.
_MAX_LOADS: Final = 3


class Worker:
    """One thread that calls `load` and then owns the engine it returns."""

    def __init__(self, load: Callable[[], AnyEngine], max_queue: int) -> None:
        """At most `max_queue` requests wait."""
        self.queue = RequestQueue(max_queue)
        self._load = load
        self._thread = self._new_thread(None)
        # Belongs to the thread; the next thread continues with it.
        self._engine: AnyEngine | None = None
        # After so long without work the engine rests; None: not before the next request.
        self._rest_after_s: float | None = None
        # The queue's `changed` guards the fields below, never the engine.
        self._changed = self.queue.changed
        self._state: EngineState = "loading"
        self._error: SightlineError | None = None
        self._info: EngineInfo | None = None
        self._successor: AnyEngine | None = None
        self._progress = ""
        self._closing = False
        self._loads = 0
        self._restarts = 0
        self._last_failure: str | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._on_device_failure: Callable[[str], None] = lambda _: None
        # In a row, of the current engine; and whether its device was reported.
        self._memory_errors = 0
        self._device_failed = False

    @property
    def state(self) -> EngineState:
        """The state; "ready" only once `info` is set, "failed" only once `error` is."""
        return self._state

    @property
    def error(self) -> SightlineError | None:
        """The reason why loading failed, in words for people."""
        return self._error

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model."""
        engine = self._engine
        # The servers of a push engine may change their model.
        return (
            engine.info if engine is not None and getattr(engine, "pushes", False) else self._info
        )

    @property
    def progress(self) -> str:
        """The current step of loading, a sentence for users; may be empty."""
        return self._progress

    @property
    def busy(self) -> bool:
        """A request is in flight."""
        return self.queue.in_flight > 0

    @property
    def restarts(self) -> int:
        """Number of times that the thread died and was replaced."""
        return self._restarts

    @property
    def last_failure(self) -> str | None:
        """The reason of the last death, in words for people."""
        return self._last_failure

    def start(self) -> None:
        """Begin to load; return at once."""
        self._thread.start()

    def report(self, progress: str) -> None:
        """Set `progress`; for `load`."""
        self._progress = progress
        self._on_change()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Send `subscriber` the record of every later request, and every step."""
        self.queue.subscribe(subscriber)

    def call_on_change(self, on_change: Callable[[], None]) -> None:
        """Call `on_change`, from any thread, when state, progress or model has changed."""
        self._on_change = on_change

    def call_on_device_failure(self, on_failure: Callable[[str], None]) -> None:
        """Call `on_failure` once for an engine whose accelerator fails, with the driver's message.

        The worker's thread calls it; it must be quick.
        """
        self._on_device_failure = on_failure

    def replace(self, engine: AnyEngine) -> None:
        """Run the next request with `engine`; return when it is in place, or the worker closes.

        A worker whose own load failed becomes ready. One caller at a time.
        """
        with self._changed:
            self._successor = engine
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._successor is None or self._closing)

    def submit(self, request: Request) -> Stream:
        """Queue `request` and return its stream.

        Raise NotReadyError, ModelFailedError or BusyError.
        """
        try:
            if self._state == "failed":
                raise ModelFailedError(str(self._error))
            if self._state == "loading":
                raise NotReadyError("The model is still loading. Try again in a few seconds.")
            return self.queue.submit(request)
        except SightlineError as error:
            self.queue.refuse(request, error)
            raise

    def close(self, timeout_s: float) -> None:
        """End the thread and all requests, within one step of the engine.

        Return after `timeout_s` at the latest, even if the model is in the middle of a pass.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
        self.queue.close()
        # A thread that has just died may have started another one.
        while self._thread.is_alive() and (left_s := deadline_s - time.monotonic()) > 0:
            self._thread.join(left_s)

    # -- the thread --

    def _new_thread(self, before: threading.Thread | None) -> threading.Thread:
        # A daemon: a pass of the model cannot be interrupted and must not delay the exit.
        return threading.Thread(target=self._run, args=(before,), name="engine", daemon=True)

    def _run(self, before: threading.Thread | None) -> None:
        if before is not None:
            # One owner at a time.
            before.join()
        try:
            if self._state == "loading":
                self._load_first()
            while not self._closing:
                self._step()
            self.queue.finish_all(GenerationError(CLOSED_MESSAGE))
            self._close_engine()
        except BaseException as error:
            self._die(error)

    def _load_first(self) -> None:
        self._loads += 1
        try:
            self._engine = self._load()
        except Exception as error:
            if not isinstance(error, SightlineError):
                log.exception("The model could not be loaded")
            self._error = load_error(error)
            self._state = "failed"
        else:
            self._info = self._engine.info
            self._state = "ready"
        self._on_change()

    def _step(self) -> None:
        """Admit waiting requests, run one step, retire finished ones."""
        engine = self._engine
        pushes = getattr(engine, "pushes", False)
        with self._changed:
            has_work = self._changed.wait_for(
                lambda: (
                    self._closing
                    or self.queue.has_work(pushes)
                    or (self._successor is not None and not (pushes and self.queue.in_flight))
                ),
                self._rest_after_s,
            )
            successor = self._successor
            if self._closing:
                return
        if successor is not None and not self.queue.in_flight:
            self._swap(successor)
            return
        assert engine is not None, "only a ready worker accepts requests"
        if not has_work:
            self._rest(cast(PullEngine, engine))
            return
        if successor is None:
            for stream in self.queue.admit(engine.max_batch):
                self._begin(engine, stream)
        self._advance(engine)

    def _begin(self, engine: AnyEngine, stream: Stream) -> None:
        try:
            if getattr(engine, "pushes", False):
                job = cast(PushEngine, engine).begin(
                    stream.request, lambda event: self._deliver(stream, event)
                )
            else:
                job = cast(PullEngine, engine).begin(
                    stream.request, lambda: stream.is_closed() or self._closing
                )
        except Exception as error:
            self._deliver(stream, error)
        else:
            self.queue.began(stream, job)

    def _advance(self, engine: AnyEngine) -> None:
        jobs = self.queue.jobs()
        if not jobs or getattr(engine, "pushes", False):
            return
        try:
            made = cast(PullEngine, engine).advance([*jobs.values()])
        except Exception as error:
            failure = request_error(error)
            made = [[failure] for _ in jobs]
        self.queue.step_ran(len(jobs))
        self._rest_after_s = 0.0
        if self._closing:
            # Results of jobs that the end has cancelled are no answers.
            return
        for stream, events in zip(jobs, made, strict=True):
            for event in events:
                self._deliver(stream, event)

    def _deliver(self, stream: Stream, event: StreamEvent | Exception) -> None:
        """Put `event` into `stream`, or end it; a push engine calls it from its own thread."""
        if isinstance(event, Result):
            self._memory_errors = 0
            self.queue.finish(stream, event)
        elif isinstance(event, Exception):
            self._watch_device(event)
            self.queue.finish(stream, request_error(event))
        else:
            stream.put(event)

    def _watch_device(self, error: Exception) -> None:
        """Report that the engine's accelerator is lost, or its memory taken, if `error` says so."""
        if isinstance(error, MemoryError):
            self._memory_errors += 1
        is_taken = self._memory_errors >= _MAX_MEMORY_ERRORS
        is_cpu = self._info is not None and self._info.device == "cpu"
        if self._device_failed or not (
            isinstance(error, DeviceFailedError) or (is_taken and not is_cpu)
        ):
            return
        self._device_failed = True
        self._on_device_failure("out of memory" if is_taken else str(error))

    def _rest(self, engine: PullEngine) -> None:
        try:
            self._rest_after_s = engine.rest(self._has_news)
        except Exception as error:
            self._rest_after_s = None
            self._watch_device(error)
            log.warning("Work between captions failed: %s", first_line(error))

    def _has_news(self) -> bool:
        with self._changed:
            return self._closing or self._successor is not None or self.queue.has_work(False)

    def _swap(self, successor: AnyEngine) -> None:
        self._close_engine()
        with self._changed:
            self._engine, self._successor, self._rest_after_s = successor, None, None
            self._memory_errors, self._device_failed = 0, False
            self._info = successor.info
            self._error = None
            self._state = "ready"
            self.queue.forget_pace()
            self._changed.notify_all()
        self._on_change()

    def _close_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _die(self, error: BaseException) -> None:
        """End the requests in flight, and start another thread that continues."""
        log.critical("The thread that owns the model died; a new one continues", exc_info=error)
        with self._changed:
            self._restarts += 1
            self._last_failure = (
                f"The worker failed unexpectedly ({type(error).__name__}) and was started again. "
                "The server's log has the details."
            )
            if self._state == "loading" and self._loads == _MAX_LOADS:
                self._error = ModelFailedError(
                    "The model could not be loaded. The server's log has the reason."
                )
                self._state = "failed"
        self._on_change()
        try:
            self.queue.finish_all(
                GenerationError("The worker failed while it made this caption. Ask again.")
            )
        finally:
            with self._changed:
                if not self._closing:
                    self._thread = self._new_thread(self._thread)
                    self._thread.start()
