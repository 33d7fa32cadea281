"""Captions and answers as they end, for the timeline."""

from __future__ import annotations

from typing import Final

from vlm.events import Record
from vlm.scheduler.worker import Worker
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline
from vlm.types import AnswerTask

# Why a live frame has no caption although its camera sent it.
_TROUBLES: Final = frozenset(
    {
        "generation_failed", "loading", "model_failed", "switching", "upstream_failed",
        "upstream_down", "upstream_timeout",
    }
)  # fmt: skip


class Recorder:
    """A subscriber of the worker. Chats of other programs are not kept."""

    def __init__(self, timeline: Timeline, worker: Worker) -> None:
        self._timeline = timeline
        self._worker = worker

    def request_ended(self, record: Record) -> None:
        """Report a caption or an answer about a frame, or that it failed."""
        request, frame = record.request, record.request.frame
        if not self._timeline.keeps or frame is None or not isinstance(request.task, AnswerTask):
            return
        # An answer that is kept already, asked for once more to see how it came about.
        is_closer = request.task.explain or request.task.top_logprobs is not None
        if is_closer and request.kind != "live":
            return
        result, camera = record.result, request.camera or ""
        if record.outcome != "done" or result is None:
            if request.kind == "live" and record.error_code in _TROUBLES:
                self._timeline.add_trouble(camera)
            return
        text = request.task.begun_text + result.text
        if not text.strip():
            return
        info = self._worker.info
        self._timeline.add(
            Look(
                at_s=frame.captured_at,
                text=text.strip(),
                kind="caption" if request.kind == "live" else "answer",
                camera=camera,
                source=frame.source,
                model="" if info is None else info.model,
                question=_question_of(request.task),
                finish=result.finish_reason,
                image=frame.image,
            )
        )

    def step_ran(self, batch_size: int) -> None:
        """Steps are not kept."""


def _question_of(task: AnswerTask) -> str:
    """Return the last question of the chat."""
    asked = [each for each in task.messages if each.role == "user"]
    texts = [part for each in asked[-1:] for part in each.parts if isinstance(part, str)]
    return "\n".join(texts)
