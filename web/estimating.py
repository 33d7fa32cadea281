"""`explain=estimate` of `/api/captions`: what words looked at, by asking without each cell."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vlm.errors import SightlineError
from vlm.results import Looks, Result, TokenChunk, TokenLogprob
from vlm.scheduler.worker import Worker
from vlm.scoring.occlusion import COLUMNS, ROWS, Said, estimated, without_cell
from vlm.types import Message, Request
from web.request_log import RequestLog
from web.streaming import Admission, read_events

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# An answer that changed may need a few tokens more for the same words.
_SPARE_TOKENS: Final = 4


def estimate(
    request: Request,
    worker: Worker,
    admission: Admission,
    entry: RequestLog,
    environ: WSGIEnvironment,
    result: Result,
    tokens: Sequence[TokenLogprob],
) -> Generator[None, None, Looks | None]:
    """Return what the words of `result` looked at; yield between and while waiting for requests.

    There are at most ROWS x COLUMNS, one at a time, each after all that waits. None if the model
    did not make the text, it is empty, a request failed, or the client has left.
    """
    if result.stats.by != "model" or result.finish_reason == "cancelled" or not result.text.strip():
        return None
    answers: list[Said] = []
    for cell in range(ROWS * COLUMNS):
        yield
        asked = _without(request, cell, result.stats.tokens + _SPARE_TOKENS)
        try:
            said = yield from _answer(asked, worker, admission, entry, environ)
        except SightlineError:
            # The answer itself is complete, and must not be lost.
            return None
        if said is None:
            return None
        answers.append(said)
    return estimated(Said(result.text, tuple(tokens)), answers)


def _answer(
    request: Request,
    worker: Worker,
    admission: Admission,
    entry: RequestLog,
    environ: WSGIEnvironment,
) -> Generator[None, None, Said | None]:
    # The log line of the HTTP request is about the caption itself.
    own = replace(entry, request=request, stream=None)
    tokens: list[TokenLogprob] = []
    with admission.submitted(worker, own, environ) as stream:
        for event in read_events(stream, admission, own):
            if event is None:
                yield
            elif isinstance(event, TokenChunk):
                tokens += event.logprobs
            elif event.finish_reason != "cancelled":
                return Said(event.text, tuple(tokens))
    return None


def _without(request: Request, cell: int, max_tokens: int) -> Request:
    """Return `request` about its picture without one cell.

    It has neither a camera nor a frame, so that nothing keeps its answer as one about them.
    """
    task = request.answer_task
    messages = tuple(
        Message(
            each.role,
            tuple(
                part if isinstance(part, str) else without_cell(part, cell) for part in each.parts
            ),
        )
        for each in task.messages
    )
    asked = replace(
        task, messages=messages, max_tokens=min(task.max_tokens, max_tokens), claims="off"
    )
    return Request(asked, kind="background")
