"""`POST /api/captions`: caption a frame, in a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from flask import Blueprint, Response, request

from vlm.errors import SightlineError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Result, StreamEvent
from web.caption_request import read_caption_request
from web.errors import error_body
from web.request_log import request_log
from web.streaming import Admission, read_events


@dataclass(frozen=True)
class Token:
    """The data of a `token` event: the text that the newest tokens completed."""

    text: str


def captions_blueprint(settings: Settings, worker: Worker, admission: Admission) -> Blueprint:
    """Return the route over a started `worker`; `admission` bounds the requests in flight."""
    blueprint = Blueprint("captions", __name__)

    @blueprint.post("/api/captions")
    def caption() -> Response:
        entry = request_log()
        entry.wants_answer = True
        with ExitStack() as held:
            held.enter_context(admission.place())
            entry.request = read_caption_request(request, settings)
            stream = held.enter_context(admission.submitted(worker, entry))
            events = read_events(stream, admission, entry)
            response = Response(
                _server_sent(events),
                mimetype="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            # Runs however the answer ends: read to its end, cancelled, or never started.
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


def _server_sent(events: Iterator[StreamEvent | None]) -> Iterator[str]:
    try:
        for event in events:
            if event is None:
                yield ": waiting\n\n"
            elif isinstance(event, Result):
                yield _event("done", asdict(event))
            else:
                yield _event("token", asdict(Token(event.text)))
    except SightlineError as error:
        yield _event("error", error_body(error.code, str(error)))


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
