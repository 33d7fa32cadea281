"""`POST /api/captions`: caption a frame, in a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace

from flask import Blueprint, Response, request
from flask import Request as HttpRequest

from vlm.errors import SightlineError
from vlm.images.frame import Frame
from vlm.results import Explained, Result, StreamEvent, TokenLogprob
from vlm.scheduler.controller import Controller
from vlm.scheduler.worker import Worker
from vlm.scoring.calibration import calibration_of
from vlm.scoring.sure import Sure, sure_of
from vlm.settings import Settings
from vlm.types import Request
from web.caption_fields import read_caption_fields
from web.errors import error_body
from web.picture_body import read_picture
from web.request_log import request_log
from web.streaming import Admission, Place, read_events


@dataclass(frozen=True)
class Token:
    """The data of a `token` event: the text that the newest tokens completed."""

    text: str


@dataclass(frozen=True)
class CaptionResult(Result):
    """The data of a `done` event."""

    # Null unless it was asked for, and if the model did not make the text, or its server does not
    # send the log probabilities of tokens.
    sure: Sure | None


def captions_blueprint(
    settings: Settings, worker: Worker, controller: Controller, admission: Admission
) -> Blueprint:
    """Return the route over a started `worker`.

    `controller` chooses what live frames leave open; `admission` bounds the requests in flight.
    """
    blueprint = Blueprint("captions", __name__)

    @blueprint.post("/api/captions")
    def caption() -> Response:
        entry = request_log()
        entry.wants_answer = True
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            entry.request = read_caption_request(request, settings, worker, controller, place)
            stream = held.enter_context(admission.submitted(worker, entry))
            events = read_events(stream, admission, entry)
            response = Response(
                _server_sent(events, entry.request.answer_task.sure, worker),
                mimetype="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            # Runs however the answer ends: read to its end, cancelled, or never started.
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


def _server_sent(
    events: Iterator[StreamEvent | None], wants_sure: bool, worker: Worker
) -> Iterator[str]:
    tokens: list[TokenLogprob] = []
    try:
        for event in events:
            if event is None:
                yield ": waiting\n\n"
            elif isinstance(event, Result):
                if isinstance(event, Explained) and event.looks is not None:
                    yield _event("looks", asdict(event.looks))
                sure = _sure(event, tokens, worker) if wants_sure else None
                yield _event("done", _done(event, sure))
            else:
                tokens += event.logprobs
                yield _event("token", asdict(Token(event.text)))
    except SightlineError as error:
        yield _event("error", error_body(error.code, str(error)))


def _done(result: Result, sure: Sure | None) -> dict[str, object]:
    values = {each.name: getattr(result, each.name) for each in fields(Result)}
    return asdict(CaptionResult(**values, sure=sure))


def _sure(result: Result, tokens: Sequence[TokenLogprob], worker: Worker) -> Sure | None:
    """Return how sure the model is of its text; None if another one made it."""
    info = worker.info
    if result.stats.by != "model" or info is None:
        return None
    return sure_of(result.text, tokens, calibration_of(info.model, info.dtype))


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def read_caption_request(
    request: HttpRequest,
    settings: Settings,
    worker: Worker,
    controller: Controller,
    place: Place,
) -> Request:
    """Return the model's request. Query fields win over form fields; unknown ones are ignored.

    What a live frame leaves open is chosen by `controller`. Raises what `read_picture` raises, and
    BadRequestError.
    """
    image, fields = read_picture(request, read_caption_fields, place)
    info, chosen = worker.info, None
    if fields.kind == "live" and fields.camera is not None and info is not None:
        chosen = controller.choose(fields.camera, info)
        chosen = replace(
            chosen,
            detail=fields.detail or chosen.detail,
            max_tokens=fields.max_tokens or chosen.max_tokens,
        )
    asked = Frame(image, fields.camera).request(
        fields.prompt,
        chosen.max_tokens if chosen else fields.max_tokens or settings.max_tokens,
        chosen.detail if chosen else fields.detail or "low",
        fields.kind,
        fields.reading,
        fields.stop_loops,
        fields.turns,
        fields.sure,
        fields.claims,
        fields.explain,
    )
    return replace(asked, chosen=chosen)
