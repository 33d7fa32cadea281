"""`POST /v1/chat/completions`, from the body to the answer.

Imported with the first request: pydantic takes longer to import than the rest of the web side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Final

from flask import Request as HttpRequest
from flask import Response
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import BadRequestError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Request, StreamEvent
from web.admission import Admission
from web.errors import MAX_BODY_BYTES, OPENAI_TOO_LARGE, FieldError, UnsupportedMediaTypeError
from web.openai.answer import Answer
from web.openai.body import read_chat_body
from web.openai.models import running_model
from web.openai.request import caption_request
from web.request_log import request_log
from web.streaming import hang_up_check, read_caption

# What has no first token after so many KEEPALIVE_S is answered with an open stream.
FIRST_WAITS: Final = 10
# nginx's name for a client that has gone; nobody gets to read it.
CLIENT_CLOSED_REQUEST: Final = 499

# A body and its images take some hundred megabytes while they are read; not for all at once.
_reading = threading.BoundedSemaphore(2)


def answer_chat(
    request: HttpRequest, settings: Settings, worker: Worker, admission: Admission
) -> Response:
    """The completion that `request` asks for, streamed or whole.

    Raises the SightlineError by which it is refused, or ended before its first token.
    """
    entry = request_log()
    entry.wants_answer = True
    with ExitStack() as held:
        admission.enter()
        held.callback(admission.leave)
        with _reading:
            entry.request, answer, is_streamed = _read(request, settings, worker)
        entry.stream = stream = worker.submit(entry.request)
        held.callback(stream.close)
        items = read_caption(stream, admission, hang_up_check(request), entry)
        try:
            if not is_streamed:
                whole = answer.whole(items)
                if whole is None:
                    return Response(status=CLIENT_CLOSED_REQUEST)
                return Response(whole.model_dump_json(), mimetype="application/json")
            items = _begun(items)
        except BadRequestError as error:
            # The model itself cannot be asked this: too long, or nothing that its template knows.
            raise FieldError(str(error), "messages", error.code) from None
        response = Response(
            answer.events(items),
            mimetype="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # Runs however the answer ends: read to its end, broken off, or never begun.
        response.call_on_close(held.pop_all().close)
        return response


def _read(request: HttpRequest, settings: Settings, worker: Worker) -> tuple[Request, Answer, bool]:
    """What is asked, the answer to be, and whether it is streamed; no more is kept of the body."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with `Content-Type: application/json`.")
    request.max_content_length = MAX_BODY_BYTES
    try:
        data = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise FieldError(OPENAI_TOO_LARGE, None, "request_too_large", status=413) from None
    body = read_chat_body(data)
    answer = Answer(
        running_model(worker, body.model).model,
        with_logprobs=bool(body.logprobs),
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
    )
    return caption_request(body, settings), answer, bool(body.stream)


def _begun(items: Iterator[StreamEvent | None]) -> Iterator[StreamEvent | None]:
    """`items`, once the first one is there: an error in its place still gets its status."""
    for waits, item in enumerate(items):
        if item is not None or waits == FIRST_WAITS:
            return chain((item,), items)
    return iter(())
