"""An engine around a model that says when it does not know a frame: then the finder speaks.

The model's own answers pass as they come. Tokens are held back only as long as the answer may
still become one of the model's texts for an unfamiliar frame. The model's answer goes on to its end
in any case, so that its next draft is its own text and never the finder's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from vlm.finder.saying import Saying
from vlm.finder.speaker import Speaker, images_of
from vlm.finder.speech import Speech
from vlm.finder.wrapped import Event, WrappedEngine
from vlm.results import Result, TokenChunk
from vlm.scheduler.protocol import PullEngine
from vlm.types import AnswerTask, Request

# While only the finder works, a step waits so long for it; then new requests can be admitted.
_STEP_S: Final = 0.02
# The finder has so long after the model's end; then what it has said is all, or the model's own
# text is given if it has said nothing. A question may have to load the reader of text first.
LIVE_LIMIT_S: Final = 5.0
QUESTION_LIMIT_S: Final = 30.0
Phase = Literal["undecided", "model", "finder"]


class FinderEngine(WrappedEngine):
    """`PullEngine` over another one."""

    def __init__(
        self,
        engine: PullEngine,
        speaker: Speaker,
        unfamiliar: Sequence[str],
        limit_s: float | None = None,
    ) -> None:
        """`unfamiliar` are the beginnings of the answers by which the model says so.

        `limit_s` replaces both limits of the finder's time.
        """
        super().__init__(engine)
        self._speaker = speaker
        self._unfamiliar = tuple(map(_squeezed, unfamiliar))
        self._limit_s = limit_s
        self._news = threading.Event()

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> FinderJob:
        """Return a job; the finder may answer about one image, in a new turn of free text."""
        inner = self._engine.begin(request, is_cancelled)
        task = request.task
        may_speak = (
            isinstance(task, AnswerTask)
            and len(images_of(task)) == 1
            and task.top_logprobs is None
            and task.form is None
            and task.prompt_end == "generation_prompt"
        )
        unfamiliar = self._unfamiliar if may_speak and self._speaker.can_speak else ()
        usual_s = LIVE_LIMIT_S if request.kind == "live" else QUESTION_LIMIT_S
        limit_s = usual_s if self._limit_s is None else self._limit_s
        return FinderJob(inner, request, unfamiliar, is_cancelled, self._begin_speech, limit_s)

    def advance(self, jobs: Sequence[FinderJob]) -> list[list[Event]]:
        running = [job for job in jobs if job.is_model_running]
        if running:
            made = self._engine.advance([job.inner for job in running])
            for job, events in zip(running, made, strict=True):
                job.take(events)
        elif all(job.is_waiting for job in jobs):
            self._news.wait(_STEP_S)
        self._news.clear()
        return [job.step() for job in jobs]

    def _begin_speech(self, request: Request, model_text: str) -> Speech:
        return self._speaker.speak(request, model_text, self._news.set)


class FinderJob:
    """One request: the model's job, and what the finder says in its place."""

    def __init__(
        self,
        inner: Any,
        request: Request,
        unfamiliar: Sequence[str],
        is_cancelled: Callable[[], bool],
        begin_speech: Callable[[Request, str], Speech],
        limit_s: float,
    ) -> None:
        self.inner = inner
        """The model's job."""
        self.is_model_running = True
        self._request = request
        self._unfamiliar = unfamiliar
        self._is_cancelled = is_cancelled
        self._begin_speech = begin_speech
        self._limit_s = limit_s
        self._phase: Phase = "undecided" if unfamiliar else "model"
        # Of the model, not given to the reader yet.
        self._held: list[Event] = []
        self._model_text = ""
        self._result: Result | None = None
        self._model_ended_s = 0.0
        self._speech: Speech | None = None
        self._saying = Saying(request)

    @property
    def is_waiting(self) -> bool:
        """Return whether nothing can be done before the finder says more."""
        return self._phase == "finder"

    def close(self) -> None:
        """Cancel the model's job; what the finder says is dropped. Idempotent."""
        if self._speech is not None:
            self._speech.fail()
        self.inner.close()

    def take(self, events: Sequence[Event]) -> None:
        """Take the model's new events."""
        for event in events:
            self._held.append(event)
            if isinstance(event, TokenChunk):
                self._model_text += event.text
            else:
                self.is_model_running = False
                self._model_ended_s = time.perf_counter()
                self._result = event if isinstance(event, Result) else None

    def step(self) -> list[Event]:
        """Return the events that are due."""
        if self._phase == "undecided":
            self._decide()
        if self._phase == "finder":
            # The model's answer to be replaced may be JSON, which is replaced as a whole.
            if self._speech is None and not (self.is_model_running and self._model_text[0] == "{"):
                self._speech = self._begin_speech(self._request, self._model_text)
            if not self.is_model_running:
                events = self._speak()
                if events is not None:
                    return events
                self._phase = "model"
        if self._phase == "model":
            held, self._held = self._held, []
            return held
        return []

    def _decide(self) -> None:
        """Leave the phase "undecided" if the text so far says who speaks."""
        text = _squeezed(self._model_text)
        if any(text.startswith(each) for each in self._unfamiliar):
            self._phase = "finder"
        elif not self.is_model_running or not any(
            each.startswith(text) for each in self._unfamiliar
        ):
            self._phase = "model"

    def _speak(self) -> list[Event] | None:
        """Return the finder's new words and result; None if the model's text is to be given."""
        assert self._speech is not None
        result, saying = self._result, self._saying
        if result is None or result.finish_reason == "cancelled":
            return None
        if self._is_cancelled():
            self._speech.fail()
            return [saying.result("cancelled", self._speech.by, result.stats)]
        text, state = self._speech.take()
        events: list[Event] = [*saying.add(text)]
        is_late = time.perf_counter() - self._model_ended_s > self._limit_s
        reason = saying.finish_reason
        if reason is None and state == "working" and not is_late:
            return events
        if state != "ended" and not saying.has_begun:
            return None
        return [*events, saying.result(reason or "stop", self._speech.by, result.stats)]


def _squeezed(text: str) -> str:
    """Return `text` without white space, which differs between forms of JSON."""
    return "".join(text.split())
