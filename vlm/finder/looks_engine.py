"""An engine that explains its answers: what each word looked at comes with the result.

After an answer the model reads it once more, on the frame that is cached. So what is explained is
the text as it was given, also if it was cut or things were left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from vlm.errors import BadRequestError
from vlm.finder.speaker import images_of
from vlm.finder.wrapped import Event, WrappedEngine
from vlm.results import Explained, Looked, Looks, Result
from vlm.scheduler.protocol import PullEngine
from vlm.scoring.looks import looks_of
from vlm.types import AnswerTask, LookTask, Request


class LooksEngine(WrappedEngine):
    """`PullEngine` over another one."""

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> LooksJob:
        """Return a job; its answer is explained if it is one in words about one image."""
        task = request.task
        is_explained = (
            isinstance(task, AnswerTask)
            and task.explain
            and task.prompt_end == "generation_prompt"
            and len(images_of(task)) == 1
        )
        inner = self._engine.begin(request, is_cancelled)
        return LooksJob(inner, request if is_explained else None, is_cancelled, self._engine)

    def advance(self, jobs: Sequence[LooksJob]) -> list[list[Event]]:
        made = self._engine.advance([job.inner for job in jobs])
        return [job.step(events) for job, events in zip(jobs, made, strict=True)]


class LooksJob:
    """One request: the job of the answer, then that of its looks."""

    def __init__(
        self,
        inner: Any,
        request: Request | None,
        is_cancelled: Callable[[], bool],
        engine: PullEngine,
    ) -> None:
        """`request` is None if the answer is not explained."""
        self.inner = inner
        self._request = request
        self._is_cancelled = is_cancelled
        self._engine = engine
        # The answer's, while its looks are computed.
        self._result: Result | None = None

    def close(self) -> None:
        """Cancel the work. Idempotent."""
        self.inner.close()

    def step(self, events: list[Event]) -> list[Event]:
        """Return what is due of the inner job's new `events`."""
        if self._request is None or not events:
            return events
        *before, last = events
        if self._result is not None:
            if isinstance(last, Looked):
                return [_explained(self._result, looks_of(self._result.text, last))]
            return [last]
        if not isinstance(last, Result):
            return events
        return [*before, *self._begin(self._request, last)]

    def _begin(self, request: Request, result: Result) -> list[Event]:
        """Ask what the answer looked at; return its end if there is nothing to ask."""
        by_model = result.stats.by == "model" and result.finish_reason != "cancelled"
        if not by_model or not result.text.strip():
            return [_explained(result, None)]
        task = request.answer_task
        look = replace(request, task=LookTask(task.messages, result.text, task.detail), chosen=None)
        self.inner.close()
        try:
            self.inner = self._engine.begin(look, self._is_cancelled)
        except BadRequestError:
            # The context has no room for an answer that was cut at its end.
            return [_explained(result, None)]
        self._result = result
        return []


def _explained(result: Result, looks: Looks | None) -> Explained:
    values = {each.name: getattr(result, each.name) for each in fields(Result)}
    return Explained(**values, looks=looks)
