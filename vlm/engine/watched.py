"""An engine on an accelerator whose driver may hang: a step that does not end fails.

A thread that waits for such a driver cannot be ended. So a thread of its own makes the calls; if
one does not return, the thread is left behind with all that it uses. This does not help if the
driver holds Python's global lock while it hangs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, Final, TypeVar

from vlm.errors import DeviceFailedError
from vlm.results import StreamEvent
from vlm.scheduler.protocol import PullEngine
from vlm.types import Request

# Ticks are waits that have ended, not a difference of times: none is counted while the machine
# sleeps or this process is stopped.
TICK_S: Final = 1.0
# The longest step reads a prompt of 8,192 tokens: of the 2.2B model 36 TFLOP, some 20 s of a weak
# card. The first of its kind may compile kernels.
STEP_TICKS: Final = 120
# Weights of several GB may come from a slow disk, and kernels are compiled.
LOAD_TICKS: Final = 600

Answer = TypeVar("Answer")
Event = StreamEvent | Exception


def always() -> bool:
    """Return True: the default `counts`."""
    return True


class DeviceThread:
    """A thread that makes one call after the other. For one caller at a time."""

    def __init__(self) -> None:
        self.is_stuck = False
        """A call has not returned in its time."""
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        # A daemon, which does not delay the exit.
        threading.Thread(target=self._run, name="device", daemon=True).start()

    def call(
        self, function: Callable[[], Answer], ticks: int, counts: Callable[[], bool] = always
    ) -> Answer:
        """Return what `function` returns, or raise what it raises.

        Raise DeviceFailedError if it does not return in so many `ticks`, of those that `counts`;
        from then on at once.
        """
        if self.is_stuck:
            raise silent()
        done: Future[Answer] = Future()
        self._calls.put((done, function))
        try:
            while ticks > 0:
                if wait((done,), TICK_S).done:
                    return done.result()
                ticks -= counts()
        finally:
            # An exception's traceback leads to this frame.
            del done
        self.is_stuck = True
        self.close()
        raise silent()

    def close(self) -> None:
        """End the thread after the call that it makes, if any. Idempotent."""
        self._calls.put(None)

    def _run(self) -> None:
        while self._run_one():
            pass

    def _run_one(self) -> bool:
        """Make the next call; return False if there is none to come."""
        call = self._calls.get()
        if call is None:
            return False
        done, function = call
        try:
            answer = function()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(answer)
        return True


def silent() -> DeviceFailedError:
    """Return the error of a driver that hangs."""
    return DeviceFailedError("The driver of the graphics card does not answer.")


class WatchedEngine:
    """`PullEngine` over one on an accelerator.

    If the driver hangs in a step, that step and all later ones fail with DeviceFailedError.
    """

    def __init__(self, engine: PullEngine) -> None:
        self.info = engine.info
        self._engine = engine
        self._thread = DeviceThread()
        # Those that are not closed stay here, since freeing one may call the driver.
        self._jobs: set[WatchedJob] = set()

    @property
    def max_batch(self) -> int:
        return self._engine.max_batch

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> WatchedJob:
        if self._thread.is_stuck:
            raise silent()
        # This needs no device.
        job = WatchedJob(self._engine.begin(request, is_cancelled), self._close_job)
        self._jobs.add(job)
        return job

    def advance(self, jobs: Sequence[WatchedJob]) -> list[list[Event]]:
        inner = [job.inner for job in jobs]
        try:
            return self._thread.call(lambda: self._engine.advance(inner), STEP_TICKS)
        except DeviceFailedError as error:
            return [[error] for _ in jobs]

    def rest(self, is_needed: Callable[[], bool]) -> float | None:
        return self._thread.call(lambda: self._engine.rest(is_needed), STEP_TICKS)

    def close(self) -> None:
        with suppress(DeviceFailedError):
            self._thread.call(self._engine.close, STEP_TICKS)
        self._thread.close()

    def _close_job(self, job: WatchedJob) -> None:
        with suppress(DeviceFailedError):
            self._thread.call(job.inner.close, STEP_TICKS)
            self._jobs.discard(job)


class WatchedJob:
    """One request in flight in a WatchedEngine."""

    def __init__(self, inner: Any, close: Callable[[WatchedJob], None]) -> None:
        self.inner = inner
        self._close = close

    def close(self) -> None:
        """Cancel the job. Idempotent."""
        self._close(self)
