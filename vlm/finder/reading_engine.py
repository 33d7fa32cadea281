"""An engine in which the reader of text answers what a picture says, or helps the model with it.

`AnswerTask.reading` says who reads: the reader alone; the model with the reader's lines in its
prompt ("both"); or the model alone. Without it, a question about text gets both. Without a reader,
or if it fails on a frame, the model answers alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final, Literal

from vlm.errors import SightlineError
from vlm.finder.answers import asked_by
from vlm.finder.finder import Finder
from vlm.finder.reading import reader_answer, with_lines
from vlm.finder.saying import Saying
from vlm.finder.speaker import image_of, images_of, prompt_of
from vlm.finder.wrapped import Event, WrappedEngine
from vlm.results import EngineInfo, TextLine
from vlm.scheduler.protocol import Job, OnEvent, PullEngine, PushEngine
from vlm.types import AnswerTask, Reading, Request

log = logging.getLogger("sightline")

# While only the reader works, a step waits so long for it; then new requests can be admitted.
_STEP_S: Final = 0.02
Lines = Future[list[TextLine]]


def reading_of(request: Request, takes_lines: bool = True) -> Reading:
    """Return who reads the text that `request` is about; "model" if it is about none.

    A model that `takes_lines` was trained on prompts that quote text.
    """
    task = request.task
    if not isinstance(task, AnswerTask):
        return "model"
    if len(images_of(task)) != 1 or task.prompt_end != "generation_prompt":
        return "model"
    reading = task.reading
    if reading is None:
        reading = "both" if asked_by(prompt_of(request)).kind == "read" else "model"
    # The reader knows neither log probabilities nor forms.
    if reading == "reader" and (task.top_logprobs is not None or task.has_form):
        reading = "both"
    return "model" if reading == "both" and not takes_lines else reading


class ReadingEngine(WrappedEngine):
    """`PullEngine` over another one."""

    def __init__(self, engine: PullEngine, finder: Finder, takes_lines: bool = True) -> None:
        super().__init__(engine)
        self._finder = finder
        self._takes_lines = takes_lines

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> ReadingJob:
        """Return a job, whose model begins after the reader if that reads first."""
        reading = reading_of(request, self._takes_lines)
        lines = (
            None if reading == "model" else self._finder.read_later(image_of(request), is_cancelled)
        )
        inner = None if lines else self._engine.begin(request, is_cancelled)
        return ReadingJob(self._engine, inner, request, reading, lines, is_cancelled)

    def advance(self, jobs: Sequence[ReadingJob]) -> list[list[Event]]:
        events_of: dict[ReadingJob, list[Event]] = {job: job.step() for job in jobs}
        running = [job for job in jobs if job.inner is not None]
        if running:
            made = self._engine.advance([job.inner for job in running])
            for job, events in zip(running, made, strict=True):
                events_of[job] += events
        elif not any(events_of.values()):
            wait([job.lines for job in jobs if job.lines], _STEP_S, FIRST_COMPLETED)
        return list(events_of.values())


class ReadingJob:
    """One request: the reader's work, then the model's job if there is one."""

    def __init__(
        self,
        engine: PullEngine,
        inner: Any,
        request: Request,
        reading: Reading,
        lines: Lines | None,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.inner = inner
        """The model's job; None while the frame is read, or if the reader answers."""
        self.lines = lines
        """The lines being read; None without a reader, or once the model has begun."""
        self._engine = engine
        self._request = request
        self._reading = reading
        self._is_cancelled = is_cancelled
        self._saying = Saying(request)

    def step(self) -> list[Event]:
        """Return the reader's answer if it is due; begin the model's job if that is due."""
        if self.lines is None or not (self.lines.done() or self._is_cancelled()):
            return []
        lines, self.lines = self.lines, None
        if self._is_cancelled():
            lines.cancel()
            return [self._saying.result("cancelled", "reader")]
        found = _lines_of(lines)
        if found is not None and self._reading == "reader":
            return _answer(self._saying, found)
        request = self._request if found is None else with_lines(self._request, found)
        try:
            self.inner = self._engine.begin(request, self._is_cancelled)
        except Exception as error:
            return [error]
        return []

    def close(self) -> None:
        """Cancel the work. Idempotent."""
        if self.lines is not None:
            self.lines.cancel()
        if self.inner is not None:
            self.inner.close()


class ReadingPushEngine:
    """`PushEngine` over another one."""

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
        """Start `request`; the reader's thread begins the model's job if the reader reads first."""
        reading = reading_of(request)
        closed = threading.Event()
        lines = (
            None
            if reading == "model"
            else self._finder.read_later(image_of(request), closed.is_set)
        )
        if lines is None:
            return self._engine.begin(request, on_event)
        job = ReadingPushJob(lines, closed)
        saying = Saying(request)

        def have_read(lines: Lines) -> None:
            found = _lines_of(lines)
            if found is not None and reading == "reader":
                for event in _answer(saying, found):
                    job.deliver(on_event, event)
                return
            asked = request if found is None else with_lines(request, found)
            try:
                job.go_on(lambda: self._engine.begin(asked, on_event))
            except Exception as error:
                job.deliver(on_event, error)

        lines.add_done_callback(have_read)
        return job

    def close(self) -> None:
        self._engine.close()


class ReadingPushJob:
    """One request: the reader's work, then the model's job. Any thread may close it."""

    def __init__(self, lines: Lines, closed: threading.Event) -> None:
        """`closed` is set by `close`."""
        self._lines = lines
        self._closed = closed
        # Reentrant, because an event's reader may close the job. Held while one is delivered, so
        # that none comes after `close` has returned.
        self._lock = threading.RLock()
        self._inner: Job | None = None

    def deliver(self, on_event: OnEvent, event: Event) -> None:
        """Hand on one event, unless the job was closed."""
        with self._lock:
            if not self._closed.is_set():
                on_event(event)

    def go_on(self, begin: Callable[[], Job]) -> None:
        """Go on with the model's job that `begin` starts, unless the job was closed."""
        with self._lock:
            if not self._closed.is_set():
                self._inner = begin()

    def close(self) -> None:
        """Cancel the work. Idempotent."""
        with self._lock:
            self._closed.set()
            inner = self._inner
        # After that: it runs the callback of the lines in this thread.
        self._lines.cancel()
        if inner is not None:
            inner.close()


def _lines_of(lines: Lines) -> list[TextLine] | None:
    """Return what was read; None if the reader failed, which its part has told."""
    if lines.cancelled():
        return None
    error = lines.exception()
    if error is not None and not isinstance(error, SightlineError):
        log.error("The reader failed on a frame", exc_info=error)
    return None if error is not None else lines.result()


def _answer(saying: Saying, lines: list[TextLine]) -> list[Event]:
    """Return the events of the reader's own answer."""
    words = saying.add(reader_answer(lines))
    return [*words, saying.result(saying.finish_reason or "stop", "reader")]
