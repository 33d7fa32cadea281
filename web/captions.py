"""`POST /api/captions`: a frame in, its caption out as server-sent events while it is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict

from flask import Blueprint, Response, request

from vlm.errors import SightlineError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Result, StreamEvent
from web.admission import Admission
from web.caption_request import read_caption_request
from web.errors import error_body
from web.request_log import request_log
from web.streaming import hang_up_check, read_caption


def captions_blueprint(settings: Settings, worker: Worker, admission: Admission) -> Blueprint:
    """The route, over a `worker` that has been started and the `admission` that bounds it."""
    blueprint = Blueprint("captions", __name__)

    @blueprint.post("/api/captions")
    def caption() -> Response:
        entry = request_log()
        entry.wants_answer = True
        with ExitStack() as held:
            admission.enter()
            held.callback(admission.leave)
            entry.request = read_caption_request(request, settings)
            entry.stream = stream = worker.submit(entry.request)
            held.callback(stream.close)
            items = read_caption(stream, admission, hang_up_check(request), entry)
            response = Response(
                _events(items),
                mimetype="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            # Runs however the answer ends: read to its end, broken off, or never begun.
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


def _events(items: Iterator[StreamEvent | None]) -> Iterator[str]:
    try:
        for item in items:
            if item is None:
                yield ": waiting\n\n"
            elif isinstance(item, Result):
                yield _event("done", asdict(item))
            else:
                yield _event("token", {"text": item.text})
    except SightlineError as error:
        yield _event("error", error_body(error.code, str(error)))


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
