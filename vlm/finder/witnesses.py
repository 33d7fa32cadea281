"""An engine whose captions come with checks: their nouns, compared with the frame.

While the model captions a frame, detector and classifier look at it in a thread of their own. If a
look is not over shortly after the caption, or there was no place for it, the caption has no checks.
The text is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any, Final, Literal

from vlm.finder.checks import Look, checks
from vlm.finder.finder import Finder
from vlm.finder.speaker import images_of
from vlm.finder.wrapped import Event, WrappedEngine
from vlm.results import EngineInfo, Result
from vlm.scheduler.protocol import Job, OnEvent, PullEngine, PushEngine
from vlm.types import AnswerTask, Request

# A caption that has ended waits for its look in so many steps of so long.
_STEPS: Final = 25
_STEP_S: Final = 0.01


class WitnessedEngine(WrappedEngine):
    """`PullEngine` over another one, with checks in its results."""

    def __init__(self, engine: PullEngine, finder: Finder) -> None:
        super().__init__(engine)
        self._finder = finder

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> WitnessedJob:
        inner = self._engine.begin(request, is_cancelled)
        return WitnessedJob(inner, _begin_look(self._finder, request))

    def advance(self, jobs: Sequence[WitnessedJob]) -> list[list[Event]]:
        running = [job for job in jobs if job.result is None]
        made: list[list[Event]] = []
        if running:
            made = self._engine.advance([job.inner for job in running])
        else:
            looks = [job.look for job in jobs if job.look is not None]
            wait(looks, _STEP_S, FIRST_COMPLETED)
        events_of = dict(zip(running, made, strict=True))
        return [job.step(events_of.get(job, [])) for job in jobs]


class WitnessedJob:
    """One request: the model's job, and the look at its frame, None if there is none."""

    def __init__(self, inner: Any, look: Future[Look] | None) -> None:
        self.inner = inner
        self.look = look
        self.result: Result | None = None
        """The model's result while it waits for the look."""
        self._steps_left = _STEPS

    def close(self) -> None:
        """Cancel the model's job, and the look if it has not begun. Idempotent."""
        if self.look is not None:
            self.look.cancel()
        self.inner.close()

    def step(self, events: list[Event]) -> list[Event]:
        """Return the model's new events, its result once the look is over or too late."""
        last = events[-1] if events else None
        if isinstance(last, Result):
            self.result, events = last, events[:-1]
        if self.result is None:
            return events
        self._steps_left -= 1
        if self.look is not None and not self.look.done() and self._steps_left > 0:
            return events
        return [*events, with_checks(self.result, self.look)]


class WitnessedPushEngine:
    """`PushEngine` over another one. A look that is not over with the answer is not waited for."""

    pushes: Literal[True] = True

    def __init__(self, engine: PushEngine, finder: Finder) -> None:
        self._engine = engine
        self._finder = finder

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def max_batch(self) -> int:
        return self._engine.max_batch

    def begin(self, request: Request, on_event: OnEvent) -> Job:
        look = _begin_look(self._finder, request)

        def deliver(event: Event) -> None:
            on_event(with_checks(event, look) if isinstance(event, Result) else event)

        return self._engine.begin(request, deliver)

    def close(self) -> None:
        self._engine.close()


def with_checks(result: Result, look: Future[Look] | None) -> Result:
    """Return `result` with the checks of its nouns, or as it is if there is no finished look."""
    if result.finish_reason == "cancelled" or look is None or not look.done():
        return result
    if look.cancelled() or look.exception() is not None:
        return result
    return replace(result, stats=replace(result.stats, checks=checks(result.text, look.result())))


def _begin_look(finder: Finder, request: Request) -> Future[Look] | None:
    """Return a look at the frame of `request`; None if it is about none, or several, or in JSON."""
    task = request.task
    images = images_of(task)
    is_answer = isinstance(task, AnswerTask) and not task.has_form
    if len(images) != 1 or not is_answer or request.kind == "background":
        return None
    return finder.look_later(images[0])
