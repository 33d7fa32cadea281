"""Requests from the moment they are submitted to their end: who waits, who is under way, who ended.

Those who ask stand on one side, the worker's thread on the other; the lock is between them.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from vlm.errors import BusyError, GenerationError, SightlineError, SupersededError
from vlm.scheduler.protocol import Job
from vlm.scheduler.stream import Stream
from vlm.scheduler.turns import Schedule
from vlm.types import Outcome, Record, Request, Result, Subscriber

# However many an engine would take together: each of them holds one of the server's threads.
AT_ONCE_LIMIT: Final = 32
MAX_RETRY_AFTER_S: Final = 60
CLOSED_MESSAGE: Final = "The server is shutting down."

# How much the newest caption counts in the average that Retry-After is told from.
_NEWEST_WEIGHT: Final = 0.3
# What a caption is taken to cost before the first one has been timed.
_FIRST_CAPTION_S: Final = 1.0


class Line:
    """At most `max_queue` requests wait, beside those that the engine takes at once."""

    def __init__(self, changed: threading.Condition, max_queue: int) -> None:
        """`changed` is held wherever something changes here, and notified of it."""
        self._changed = changed
        self._max_queue = max_queue
        self._waiting: Schedule[Stream] = Schedule()
        # None where the engine is just about to begin.
        self._under_way: dict[Stream, Job | None] = {}
        self._at_once = 1
        self._caption_s = _FIRST_CAPTION_S
        self._closed = False
        self._watchers: tuple[Subscriber, ...] = ()

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changed:
            return len(self._waiting)

    @property
    def under_way(self) -> int:
        """How many the engine is working on."""
        return len(self._under_way)

    @property
    def at_once(self) -> int:
        """How many may be under way at once."""
        return self._at_once

    def subscribe(self, watcher: Subscriber) -> None:
        """Tell `watcher` from here on."""
        with self._changed:
            self._watchers = (*self._watchers, watcher)

    # -- those who ask --

    def join(self, request: Request) -> Stream:
        """Let `request` wait for its turn; raises BusyError where there is no room.

        The frame that it replaces, if any, is told so.
        """
        stream = Stream(request, self._leave)
        with self._changed:
            if self._closed:
                raise BusyError(CLOSED_MESSAGE)
            places = self._max_queue + self._at_once - len(self._under_way)
            if not self._waiting.has_room(request, places):
                raise self._busy()
            older = self._waiting.add(stream)
            self._changed.notify_all()
        if older is not None:
            self._tell(older, "superseded", SupersededError.code)
            older.put(SupersededError("A newer frame of this camera has come."))
        return stream

    def refuse(self, request: Request, error: SightlineError) -> None:
        """Tell the watchers that `request` was refused for `error`."""
        self._tell(Stream(request, self._leave), "refused", error.code)

    def shut(self) -> None:
        """Let nobody join any more, and tell all who wait that the server ends."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting.drain())
        for stream in waiting:
            error = GenerationError(CLOSED_MESSAGE)
            self._tell(stream, "failed", error.code)
            stream.put(error)

    def _leave(self, stream: Stream) -> None:
        with self._changed:
            waited = self._waiting.remove(stream)
        if waited:
            self._tell(stream, "cancelled")

    def _busy(self) -> BusyError:
        ahead = len(self._waiting) + len(self._under_way)
        wait_s = math.ceil(self._caption_s * ahead / self._at_once)
        retry_after_s = min(MAX_RETRY_AFTER_S, max(1, wait_s))
        return BusyError(
            f"{ahead} captions are being made already. Try again in {retry_after_s} s.",
            retry_after_s,
        )

    # -- the worker's thread --

    def has_work(self) -> bool:
        """Whether anybody waits or is under way; to be asked while `changed` is held."""
        return bool(self._under_way) or len(self._waiting) > 0

    def take_in(self, at_once: int) -> list[Stream]:
        """Those whose turn it is, so that at most `at_once` are under way with them."""
        with self._changed:
            self._at_once = max(1, min(at_once, AT_ONCE_LIMIT))
            coming = []
            while len(self._under_way) < self._at_once and (stream := self._waiting.take()):
                stream.begun_s = time.perf_counter()
                self._under_way[stream] = None
                coming.append(stream)
            return coming

    def begun(self, stream: Stream, job: Job) -> None:
        """The engine knows `stream` as `job` from here on."""
        self._under_way[stream] = job

    def jobs(self) -> dict[Stream, Job]:
        """What the engine is working on; those whose reader has left are let go first."""
        for stream in [each for each in self._under_way if each.is_closed()]:
            self.let_go(stream, None)
        return {stream: job for stream, job in self._under_way.items() if job is not None}

    def ran(self, requests: int) -> None:
        """So many requests were advanced by one step."""
        for watcher in self._watchers:
            watcher.pass_ran(requests)

    def let_go(self, stream: Stream, last: Result | SightlineError | None) -> None:
        """The end of a request that was begun; None for one whose reader has left."""
        with self._changed:
            # Before the reader learns of the end, so that it finds the place free.
            job = self._under_way.pop(stream)
            taken_s = time.perf_counter() - stream.submitted_s - stream.queued_s
            self._caption_s += _NEWEST_WEIGHT * (taken_s - self._caption_s)
        error = GenerationError("The caption was cancelled.") if last is None else last
        try:
            if job is not None:
                job.close()
            if isinstance(last, Result):
                self._tell(stream, "cancelled" if stream.is_closed() else "done", done=last)
            elif last is None:
                self._tell(stream, "cancelled")
            else:
                self._tell(stream, "failed", last.code)
        finally:
            stream.put(error)

    def let_all_go(self, error: SightlineError) -> None:
        """The end of all that were begun."""
        for stream in [*self._under_way]:
            self.let_go(stream, error)

    def forget_pace(self) -> None:
        """Another engine takes another time for a caption."""
        self._caption_s = _FIRST_CAPTION_S

    # -- endings --

    def _tell(
        self,
        stream: Stream,
        outcome: Outcome,
        error_code: str | None = None,
        done: Result | None = None,
    ) -> None:
        finish_reason, stats = (done.finish_reason, done.stats) if done else (None, None)
        record = Record(
            outcome, stream.request.live, stream.queued_s, error_code, finish_reason, stats
        )
        for watcher in self._watchers:
            watcher.request_ended(record)
