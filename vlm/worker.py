"""The thread that owns the engine: it loads it, then serves one request after the other.

Another engine may take its place between two requests.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final, Protocol

from vlm.errors import (
    BusyError,
    GenerationError,
    ModelFailedError,
    NotReadyError,
    SightlineError,
)
from vlm.types import CaptionDone, CaptionRequest, EngineInfo, EngineState, StreamItem

log = logging.getLogger("sightline")

_MAX_RETRY_AFTER_S: Final = 60
# How much the newest caption counts in the average that Retry-After is told from.
_NEWEST_WEIGHT: Final = 0.3
# What a caption is taken to cost before the first one has been timed.
_FIRST_CAPTION_S: Final = 1.0
_CLOSED_MESSAGE: Final = "The server is shutting down."


class CaptionEngine(Protocol):
    """What the worker needs of `vlm.engine.Engine`."""

    info: EngineInfo

    def stream(
        self, request: CaptionRequest, is_cancelled: Callable[[], bool]
    ) -> Generator[StreamItem, None, None]:
        """See `Engine.stream`."""


class CaptionStream:
    """What the engine makes of one request, read by whoever submitted it."""

    def __init__(self, request: CaptionRequest, on_close: Callable[[CaptionStream], None]) -> None:
        self.request = request
        self.submitted = time.perf_counter()
        self._on_close = on_close
        self._items: queue.SimpleQueue[StreamItem | SightlineError] = queue.SimpleQueue()
        self._last: CaptionDone | SightlineError | None = None
        self._closed = threading.Event()

    def next(self, timeout_s: float) -> StreamItem | None:
        """The next item, or None where none came within `timeout_s`.

        The CaptionDone is the last one; asked again, the stream repeats it. Raises BadRequestError
        where the model cannot be asked this, GenerationError where the pass failed.
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
        """Nobody reads on: the work stops within one token, or is never begun. Idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            self._on_close(self)

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def put(self, item: StreamItem | SightlineError) -> None:
        """For the worker: the next item; a CaptionDone or an error ends the stream."""
        self._items.put(item)


class Worker:
    """One thread that calls `load` and then owns what it returns; at most `max_queue` wait."""

    def __init__(self, load: Callable[[], CaptionEngine], max_queue: int) -> None:
        self._load = load
        self._max_queue = max_queue
        # A daemon, since a pass of the model cannot be interrupted and must not hold up the exit.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        # Guards the fields below, never the model: only the thread above touches that.
        self._changed = threading.Condition()
        self._waiting: deque[CaptionStream] = deque()
        self._current: CaptionStream | None = None
        self._state: EngineState = "loading"
        self._error: SightlineError | None = None
        self._info: EngineInfo | None = None
        self._successor: CaptionEngine | None = None
        self._progress = ""
        self._closing = False
        self._caption_s = _FIRST_CAPTION_S

    @property
    def state(self) -> EngineState:
        """ "ready" only once `info` is there, "failed" only once `error` is."""
        return self._state

    @property
    def error(self) -> SightlineError | None:
        """Why loading failed, in words for people."""
        return self._error

    @property
    def info(self) -> EngineInfo | None:
        """What is loaded."""
        return self._info

    @property
    def progress(self) -> str:
        """What loading is at, in a sentence for people; empty where there is nothing to tell."""
        return self._progress

    @property
    def waiting(self) -> int:
        """How many requests wait for the one under way to end."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._current is not None

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._thread.start()

    def report(self, progress: str) -> None:
        """For `load`: what it is at."""
        self._progress = progress

    def replace(self, engine: CaptionEngine) -> None:
        """Serve by `engine` from the next request on; returns when it is so, or the worker closes.

        A worker whose own load failed is ready thereby. One caller at a time.
        """
        with self._changed:
            self._successor = engine
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._successor is None or self._closing)

    def submit(self, request: CaptionRequest) -> CaptionStream:
        """Queue `request`; its stream begins when all before it are done.

        Raises NotReadyError, ModelFailedError or BusyError at once.
        """
        with self._changed:
            if self._state == "failed":
                raise ModelFailedError(str(self._error))
            if self._state == "loading":
                raise NotReadyError("The model is still loading. Try again in a few seconds.")
            if self._closing:
                raise BusyError(_CLOSED_MESSAGE)
            ahead = len(self._waiting) + self.busy
            if ahead > self._max_queue:
                retry_after_s = min(_MAX_RETRY_AFTER_S, math.ceil(self._caption_s * ahead))
                raise BusyError(
                    f"{ahead} captions are being made already. Try again in {retry_after_s} s.",
                    retry_after_s,
                )
            stream = CaptionStream(request, self._forget)
            self._waiting.append(stream)
            self._changed.notify_all()
            return stream

    def close(self, timeout_s: float) -> None:
        """End the thread: what waits fails, what is under way is cancelled within one token.

        Returns after `timeout_s` at the latest, even where the model is in the middle of a pass.
        """
        with self._changed:
            self._closing = True
            for stream in self._waiting:
                stream.put(GenerationError(_CLOSED_MESSAGE))
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _forget(self, stream: CaptionStream) -> None:
        with self._changed:
            if stream in self._waiting:
                self._waiting.remove(stream)

    def _run(self) -> None:
        engine = self._first_engine()
        while not self._closing:
            stream = self._next_stream()
            if stream is None:
                engine = self._take_successor() or engine
                continue
            assert engine is not None, "a request was taken in without an engine"
            last = self._serve(engine, stream)
            with self._changed:
                # Before the reader learns of the end, so that it finds the place free.
                self._current = None
            stream.put(last)

    def _first_engine(self) -> CaptionEngine | None:
        try:
            engine = self._load()
        except Exception as error:
            if not isinstance(error, SightlineError):
                log.exception("The model could not be loaded")
            self._error = load_error(error)
            self._state = "failed"
            return None
        self._info = engine.info
        self._state = "ready"
        return engine

    def _next_stream(self) -> CaptionStream | None:
        """The next request; None where something else is to be done first."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._successor or self._closing)
            if self._closing or self._successor:
                return None
            self._current = self._waiting.popleft()
            return self._current

    def _take_successor(self) -> CaptionEngine | None:
        with self._changed:
            engine, self._successor = self._successor, None
            if engine is not None:
                self._info = engine.info
                self._error = None
                self._state = "ready"
                self._caption_s = _FIRST_CAPTION_S
            self._changed.notify_all()
            return engine

    def _serve(self, engine: CaptionEngine, stream: CaptionStream) -> CaptionDone | SightlineError:
        """Runs one request to its end, whatever that is; returns the last item of its stream."""
        started = time.perf_counter()
        items = engine.stream(stream.request, lambda: stream.is_closed() or self._closing)
        # Errors go on without their traceback, which would keep the pass's tensors alive.
        try:
            for item in items:
                if isinstance(item, CaptionDone):
                    queued_s = started - stream.submitted
                    return replace(item, stats=replace(item.stats, queued_s=queued_s))
                stream.put(item)
                if stream.is_closed():
                    break
            return GenerationError("The caption was cancelled.")
        except SightlineError as error:
            return error.with_traceback(None)
        except MemoryError as error:
            log.error("Out of memory in a caption: %s", error)
            return GenerationError(
                "There is not enough memory for this caption. Ask with detail=low, or start with "
                "a smaller model."
            )
        except Exception:
            log.exception("A caption failed")
            return GenerationError("The model failed on this caption. The server's log tells why.")
        finally:
            items.close()
            taken_s = time.perf_counter() - started
            self._caption_s += _NEWEST_WEIGHT * (taken_s - self._caption_s)


def load_error(error: Exception) -> SightlineError:
    """Why a model could not be loaded, in words for people."""
    if isinstance(error, SightlineError):
        return error
    if isinstance(error, MemoryError):
        return ModelFailedError("There is not enough memory for this model. Choose a smaller one.")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelFailedError(f"The model could not be loaded: {reason}")
