"""The thread that owns the engine: it loads it, then serves those who wait, some at a time.

Requests join and leave between two steps. Another engine may take the place of the first. A thread
that dies is followed by another, which goes on with the engine that there is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from vlm.errors import (
    GenerationError,
    ModelFailedError,
    NotReadyError,
    SightlineError,
)
from vlm.scheduler.protocol import EngineProtocol, load_error, request_error
from vlm.scheduler.queue import CLOSED_MESSAGE, Line
from vlm.scheduler.stream import Stream
from vlm.types import EngineInfo, EngineState, Request, Result, Subscriber

log = logging.getLogger("sightline")

# A load that has killed its thread so often is not tried again.
_LOADS: Final = 3


class Worker:
    """One thread that calls `load` and then owns what it returns; at most `max_queue` wait."""

    def __init__(self, load: Callable[[], EngineProtocol], max_queue: int) -> None:
        self._load = load
        self._thread = self._new_thread(None)
        # The thread's own; the next thread goes on with it.
        self._engine: EngineProtocol | None = None
        # Guards the fields below, never the engine: only the thread touches that.
        self._changed = threading.Condition()
        self._line = Line(self._changed, max_queue)
        self._state: EngineState = "loading"
        self._error: SightlineError | None = None
        self._info: EngineInfo | None = None
        self._successor: EngineProtocol | None = None
        self._progress = ""
        self._closing = False
        self._loads = 0
        self._restarts = 0
        self._last_failure: str | None = None

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
        """How many requests wait for others to end."""
        return self._line.waiting

    @property
    def under_way(self) -> int:
        """How many requests the engine is working on."""
        return self._line.under_way

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._line.under_way > 0

    @property
    def at_once(self) -> int:
        """How many requests may be under way at once."""
        return self._line.at_once

    @property
    def restarts(self) -> int:
        """How often the thread has died and another one has taken over."""
        return self._restarts

    @property
    def last_failure(self) -> str | None:
        """Why the thread died last, in words for people."""
        return self._last_failure

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._thread.start()

    def report(self, progress: str) -> None:
        """For `load`: what it is at."""
        self._progress = progress

    def subscribe(self, watcher: Subscriber) -> None:
        """Tell `watcher` from here on how requests end, and of each step of the engine."""
        self._line.subscribe(watcher)

    def replace(self, engine: EngineProtocol) -> None:
        """Serve by `engine` from the next request on; returns when it is so, or the worker closes.

        A worker whose own load failed is ready thereby. One caller at a time.
        """
        with self._changed:
            self._successor = engine
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._successor is None or self._closing)

    def submit(self, request: Request) -> Stream:
        """Let `request` wait for its turn; `vlm.scheduler.turns` says whose turn it is.

        Raises NotReadyError, ModelFailedError or BusyError at once.
        """
        try:
            if self._state == "failed":
                raise ModelFailedError(str(self._error))
            if self._state == "loading":
                raise NotReadyError("The model is still loading. Try again in a few seconds.")
            return self._line.join(request)
        except SightlineError as error:
            self._line.refuse(request, error)
            raise

    def close(self, timeout_s: float) -> None:
        """End the thread: who waits or is under way is told so, within one step of the engine.

        Returns after `timeout_s` at the latest, even where the model is in the middle of a pass.
        """
        ends_s = time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._line.shut()
        # One that has just died may have left another one behind.
        while self._thread.is_alive() and (left_s := ends_s - time.monotonic()) > 0:
            self._thread.join(left_s)

    # -- the thread --

    def _new_thread(self, before: threading.Thread | None) -> threading.Thread:
        # A daemon, since a pass of the model cannot be interrupted and must not hold up the exit.
        return threading.Thread(target=self._run, args=(before,), name="engine", daemon=True)

    def _run(self, before: threading.Thread | None) -> None:
        if before is not None:
            # There is one owner at a time.
            before.join()
        try:
            if self._state == "loading":
                self._load_first()
            while not self._closing:
                self._step()
            self._end()
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
            return
        self._info = self._engine.info
        self._state = "ready"

    def _step(self) -> None:
        """Let come whose turn it is, take all one step further, let go who is done."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._line.has_work() or self._successor is not None or self._closing
            )
            successor = self._successor
            if self._closing:
                return
        if successor is None:
            self._begin_next()
        elif not self._line.under_way:
            self._swap(successor)
            return
        self._advance()

    def _begin_next(self) -> None:
        engine = self._owned()
        for stream in self._line.take_in(engine.at_once):
            self._begin(engine, stream)

    def _begin(self, engine: EngineProtocol, stream: Stream) -> None:
        try:
            job = engine.begin(stream.request, lambda: stream.is_closed() or self._closing)
        except Exception as error:
            self._line.let_go(stream, request_error(error))
        else:
            self._line.begun(stream, job)

    def _advance(self) -> None:
        jobs = self._line.jobs()
        if not jobs:
            return
        try:
            made = self._owned().advance([*jobs.values()])
        except Exception as error:
            told = request_error(error)
            made = [[told] for _ in jobs]
        self._line.ran(len(jobs))
        if self._closing:
            # What was cancelled thereby is no caption.
            return
        for stream, items in zip(jobs, made, strict=True):
            for item in items:
                if isinstance(item, Result):
                    stats = replace(item.stats, queued_s=stream.queued_s)
                    self._line.let_go(stream, replace(item, stats=stats))
                elif isinstance(item, Exception):
                    self._line.let_go(stream, request_error(item))
                else:
                    stream.put(item)

    def _swap(self, successor: EngineProtocol) -> None:
        self._close_engine()
        with self._changed:
            self._engine, self._successor = successor, None
            self._info = successor.info
            self._error = None
            self._state = "ready"
            self._line.forget_pace()
            self._changed.notify_all()

    def _end(self) -> None:
        self._line.let_all_go(GenerationError(CLOSED_MESSAGE))
        self._close_engine()

    def _close_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _owned(self) -> EngineProtocol:
        assert self._engine is not None, "a request was taken in without an engine"
        return self._engine

    def _die(self, error: BaseException) -> None:
        """Tell those who were under way, and leave another thread behind that goes on."""
        log.critical("The thread that owns the model died; another one goes on", exc_info=error)
        with self._changed:
            self._restarts += 1
            self._last_failure = (
                f"The worker failed unexpectedly ({type(error).__name__}) and was started again. "
                "The server's log tells more."
            )
            if self._state == "loading" and self._loads == _LOADS:
                self._error = ModelFailedError(
                    "The model could not be loaded. The server's log tells why."
                )
                self._state = "failed"
        try:
            self._line.let_all_go(
                GenerationError("The worker failed while it made this caption. Ask again.")
            )
        finally:
            with self._changed:
                if not self._closing:
                    self._thread = self._new_thread(self._thread)
                    self._thread.start()
