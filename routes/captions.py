"""`POST /api/captions`: a frame in, its caption out as server-sent events while it is made."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict

from flask import Blueprint, Response, request

from routes.admission import Admission
from routes.caption_request import read_caption_request
from routes.errors import INTERNAL_MESSAGE, error_body
from routes.request_log import RequestLog, request_log
from vlm.errors import SightlineError
from vlm.settings import Settings
from vlm.types import CaptionDone
from vlm.worker import CaptionStream, Worker

log = logging.getLogger("sightline")

# How soon a hang-up is noticed while the model has nothing to say yet (queue, prefill).
POLL_S = 0.1
KEEPALIVE_S = 1.0


def captions_blueprint(settings: Settings, worker: Worker, admission: Admission) -> Blueprint:
    """The route, over a `worker` that has been started and the `admission` that bounds it."""
    blueprint = Blueprint("captions", __name__)

    @blueprint.post("/api/captions")
    def caption() -> Response:
        entry = request_log()
        entry.outcome = "refused"
        with ExitStack() as held:
            admission.enter()
            held.callback(admission.leave)
            asked = read_caption_request(request, settings)
            entry.asked(asked)
            stream = worker.submit(asked)
            held.callback(stream.close)
            entry.outcome = "cancelled"
            client_gone = request.environ.get("waitress.client_disconnected", _never)
            response = Response(
                _events(stream, admission, client_gone, entry),
                mimetype="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            # Runs however the answer ends: read to its end, broken off, or never begun.
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


def _never() -> bool:
    return False


def _events(
    stream: CaptionStream,
    admission: Admission,
    client_gone: Callable[[], bool],
    entry: RequestLog,
) -> Iterator[str]:
    last_sent = time.monotonic()
    while not client_gone():
        if admission.stopping:
            entry.error_code = "stopping"
            yield _event("error", error_body("stopping", "The server is shutting down."))
            return
        try:
            item = stream.next(timeout_s=POLL_S)
        except SightlineError as error:
            entry.failed(error.code)
            yield _event("error", error_body(error.code, str(error)))
            return
        except Exception as error:
            log.error("Unforeseen error in a caption stream", exc_info=error)
            entry.failed("internal")
            yield _event("error", error_body("internal", INTERNAL_MESSAGE))
            return
        if isinstance(item, CaptionDone):
            entry.done(item)
            yield _event("done", asdict(item))
            return
        if item is not None:
            yield _event("token", {"text": item.text})
        elif time.monotonic() - last_sent >= KEEPALIVE_S:
            yield ": waiting\n\n"
        else:
            continue
        last_sent = time.monotonic()


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
