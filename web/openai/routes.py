"""The routes of the OpenAI-compatible API: `/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal

from flask import Blueprint, Response, jsonify, request
from flask import Request as HttpRequest
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import BadRequestError, ModelFailedError, NotReadyError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import EngineInfo, Request, StreamEvent
from web.errors import (
    MAX_BODY_BYTES,
    FieldError,
    FieldTooLargeError,
    ModelNotFoundError,
    UnsupportedMediaTypeError,
    too_many_bytes,
)
from web.request_log import request_log
from web.streaming import Admission, read_events

if TYPE_CHECKING:
    from web.openai.answers import ChatAnswer

# If there is no first token after so many KEEPALIVE_S, a streamed answer begins without one.
FIRST_WAITS: Final = 10
# nginx's status for a client that has disconnected; it only appears in logs.
CLIENT_CLOSED_REQUEST: Final = 499

# A body and its images take some hundred megabytes while they are read, so few are read at once.
_reading: Final = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Model:
    """The model that answers."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


@dataclass(frozen=True)
class ModelList:
    """The models that answer: one."""

    object: Literal["list"]
    data: list[Model]


def openai_blueprint(settings: Settings, worker: Worker, admission: Admission) -> Blueprint:
    """Return the routes over a started `worker`; `admission` bounds the requests in flight."""
    blueprint = Blueprint("openai", __name__, url_prefix="/v1")
    created = int(time.time())

    @blueprint.get("/models")
    def list_models() -> Response:
        info = running_model(worker)
        return jsonify(ModelList("list", [Model(info.model, "model", created, "sightline")]))

    # A hub id contains a slash.
    @blueprint.get("/models/<path:name>")
    def retrieve_model(name: str) -> Response:
        info = running_model(worker, name)
        return jsonify(Model(info.model, "model", created, "sightline"))

    @blueprint.post("/chat/completions")
    def create_chat_completion() -> Response:
        return answer_chat(request, settings, worker, admission)

    return blueprint


def running_model(worker: Worker, name: str | None = None) -> EngineInfo:
    """Return what runs; `name`, if given, must be its name or one of its aliases.

    Raises NotReadyError, ModelFailedError or ModelNotFoundError.
    """
    info = worker.info
    if info is None:
        if worker.state == "failed":
            raise ModelFailedError(str(worker.error))
        raise NotReadyError("The model is still loading. Try again in a few seconds.")
    aliases = [alias.lower() for alias in info.aliases]
    if name is None or name == info.model or name.lower() in aliases:
        return info
    raise ModelNotFoundError(f"This model is not served here; `{info.model}` is.")


def answer_chat(
    request: HttpRequest, settings: Settings, worker: Worker, admission: Admission
) -> Response:
    """Return the completion of `request`, streamed or whole.

    Raises a SightlineError if the request is refused or fails before its first token.
    """
    entry = request_log()
    entry.wants_answer = True
    with ExitStack() as held:
        held.enter_context(admission.place())
        with _reading:
            entry.request, answer, is_streamed = _read(request, settings, worker)
        stream = held.enter_context(admission.submitted(worker, entry))
        events = read_events(stream, admission, entry)
        try:
            if not is_streamed:
                whole = answer.whole(events)
                if whole is None:
                    return Response(status=CLIENT_CLOSED_REQUEST)
                return Response(whole.model_dump_json(), mimetype="application/json")
            events = _started(events)
        except BadRequestError as error:
            # The model cannot read these messages: they are too long, or its template refuses them.
            raise FieldError(str(error), "messages", error.code) from None
        response = Response(
            answer.chunks(events),
            mimetype="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # Runs however the answer ends: read to its end, cancelled, or never started.
        response.call_on_close(held.pop_all().close)
        return response


def _read(
    request: HttpRequest, settings: Settings, worker: Worker
) -> tuple[Request, ChatAnswer, bool]:
    """Return the request, the answer to fill, and whether to stream it."""
    # With the first request: pydantic takes longer to import than the rest of the web side.
    from web.openai.answers import ChatAnswer
    from web.openai.body import chat_request, read_chat_body

    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with `Content-Type: application/json`.")
    request.max_content_length = MAX_BODY_BYTES
    try:
        data = request.get_data(cache=False)
    except RequestEntityTooLarge:
        message = f"{too_many_bytes('The body', MAX_BODY_BYTES)} Send fewer or smaller images."
        raise FieldTooLargeError(message, None, "request_too_large") from None
    body = read_chat_body(data)
    answer = ChatAnswer(
        running_model(worker, body.model).model,
        with_logprobs=bool(body.logprobs),
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
    )
    return chat_request(body, settings), answer, bool(body.stream)


def _started(events: Iterator[StreamEvent | None]) -> Iterator[StreamEvent | None]:
    """Wait for the first event and return all: an error in its place still sets the status."""
    for waits, event in enumerate(events):
        if event is not None or waits == FIRST_WAITS:
            return chain((event,), events)
    return iter(())
