"""The routes of the OpenAI-compatible API: `/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request
from flask import Request as HttpRequest
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import (
    BadRequestError,
    ModelFailedError,
    NotReadyError,
    StreamClosedError,
)
from vlm.models.manager import Models
from vlm.scheduler.worker import Worker
from vlm.types import EngineInfo, Request, StreamEvent
from web.errors import (
    IGNORED_HEADER,
    MAX_BODY_BYTES,
    MODEL_HEADER,
    FieldError,
    FieldTooLargeError,
    ModelNotFoundError,
    UnsupportedMediaTypeError,
    too_many_bytes,
)
from web.request_log import request_log
from web.streaming import Admission, Place, read_events
from web.wsgi import watch_client

if TYPE_CHECKING:
    from web.openai.answers import ChatAnswer

# If there is no first token after so many KEEPALIVE_S, a streamed answer begins without one.
FIRST_WAITS: Final = 10
# nginx's status for a client that has disconnected; it only appears in logs.
CLIENT_CLOSED_REQUEST: Final = 499

# A body and its images take some hundred megabytes while they are read, so few are read at once.
_reading: Final = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Architecture:
    """The kinds of input and output of the model."""

    input_modalities: tuple[str, ...] = ("text", "image")
    output_modalities: tuple[str, ...] = ("text",)


@dataclass(frozen=True)
class ModelMeta:
    """The length of the context, as llama.cpp names it."""

    n_ctx: int | None


@dataclass(frozen=True)
class ModelStatus:
    """State of the model, in the form of llama.cpp's list."""

    value: Literal["loading", "loaded"]
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """The model that answers, with the fields that clients of other servers read."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    aliases: tuple[str, ...]
    max_model_len: int | None
    """Tokens of prompt and answer together; null while the model loads, or if it runs elsewhere."""
    meta: ModelMeta
    status: ModelStatus
    architecture: Architecture = Architecture()
    capabilities: tuple[str, ...] = ("completion", "vision")


@dataclass(frozen=True)
class ModelList:
    """The models that answer: one, or none before it is known which one loads."""

    object: Literal["list"]
    data: tuple[Model, ...]


def openai_blueprint(models: Models, admission: Admission) -> Blueprint:
    """Return the routes over started `models`; `admission` bounds the requests in flight."""
    blueprint = Blueprint("openai", __name__, url_prefix="/v1")
    created = int(time.time())

    @blueprint.get("/models")
    def list_models() -> Response:
        listed = _listed(models, created)
        return jsonify(ModelList("list", () if listed is None else (listed,)))

    # A hub id contains a slash.
    @blueprint.get("/models/<path:name>")
    def retrieve_model(name: str) -> Response:
        listed = _listed(models, created)
        names = [listed.id, *listed.aliases] if listed is not None else []
        if listed is None or name.lower() not in map(str.lower, names):
            raise ModelNotFoundError(
                f"This model is not served here; `{running_model(models.worker).model}` is."
            )
        return jsonify(listed)

    @blueprint.post("/chat/completions")
    def create_chat_completion() -> Response:
        return answer_chat(request, models.worker, admission)

    return blueprint


def _listed(models: Models, created: int) -> Model | None:
    """Return the model that runs, or the one that loads; None if that is not known yet.

    Raises ModelFailedError.
    """
    if models.worker.state != "loading":
        info = running_model(models.worker)
        tokens = info.context_tokens
        return Model(
            id=info.model,
            object="model",
            created=created,
            owned_by="sightline",
            aliases=info.aliases,
            max_model_len=tokens,
            meta=ModelMeta(tokens),
            status=ModelStatus("loaded"),
        )
    if models.first is None:
        return None
    return Model(
        id=models.first,
        object="model",
        created=created,
        owned_by="sightline",
        aliases=(),
        max_model_len=None,
        meta=ModelMeta(None),
        status=ModelStatus("loading"),
    )


def running_model(worker: Worker) -> EngineInfo:
    """Return what runs; raises NotReadyError or ModelFailedError."""
    info = worker.info
    if info is None:
        if worker.state == "failed":
            raise ModelFailedError(str(worker.error))
        raise NotReadyError("The model is still loading. Try again in a few seconds.")
    return info


def answer_chat(request: HttpRequest, worker: Worker, admission: Admission) -> Response:
    """Return the completion of `request`, streamed or whole.

    Raises a SightlineError if the request is refused or fails before its first token.
    """
    entry = request_log()
    entry.wants_answer = True
    with ExitStack() as held:
        place = held.enter_context(admission.place())
        asked = _read(request, worker, place)
        entry.request, entry.ignored = asked.request, asked.ignored
        stream = held.enter_context(admission.submitted(worker, entry))
        events = read_events(stream, admission, entry)
        try:
            if not asked.is_streamed:
                whole = asked.answer.whole(events)
                if whole is None:
                    return Response(status=CLIENT_CLOSED_REQUEST)
                text = whole.model_dump_json()
                return Response(text, mimetype="application/json", headers=asked.headers)
            events = _started(events)
        except BadRequestError as error:
            # The model cannot read these messages: they are too long, or its template refuses them.
            raise FieldError(str(error), error.chat_field, error.code) from None
        response = Response(
            asked.answer.chunks(events),
            mimetype="text/event-stream",
            headers=asked.headers | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # Runs however the answer ends: read to its end, cancelled, or never started.
        response.call_on_close(held.pop_all().close)
        return response


@dataclass(frozen=True)
class _Asked:
    """A chat request that was read."""

    request: Request
    ignored: tuple[str, ...]
    """Names of fields that have no effect."""
    answer: ChatAnswer
    """To be filled."""
    is_streamed: bool

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer: the true name of the model, and what was ignored."""
        ignored = {IGNORED_HEADER: ", ".join(self.ignored)} if self.ignored else {}
        return {MODEL_HEADER: quote(self.answer.model, safe="/:@ "), **ignored}


def _read(request: HttpRequest, worker: Worker, place: Place) -> _Asked:
    """Return the checked request; raises FieldError, or an error of `running_model`."""
    # With the first request: pydantic takes longer to import than the rest of the web side.
    from web.openai.answers import ChatAnswer
    from web.openai.body import chat_request, read_chat_body

    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with `Content-Type: application/json`.")
    place.hold(min(request.content_length or 0, MAX_BODY_BYTES))
    is_cancelled = watch_client(request.environ)
    with _reading:
        if is_cancelled():
            raise StreamClosedError("The client has left before its request was read.")
        body = read_chat_body(_data(request))
    model = running_model(worker).model
    chat = chat_request(body, is_cancelled)
    parts = [part for message in chat.request.task.messages for part in message.parts]
    place.hold_images(part for part in parts if not isinstance(part, str))
    answer = ChatAnswer(
        model,
        with_logprobs=bool(body.logprobs),
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
        tool=chat.tool,
    )
    return _Asked(chat.request, chat.ignored, answer, bool(body.stream))


def _data(request: HttpRequest) -> bytes:
    """Return the body; raises FieldTooLargeError."""
    request.max_content_length = MAX_BODY_BYTES
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        message = f"{too_many_bytes('The body', MAX_BODY_BYTES)} Send fewer or smaller images."
        raise FieldTooLargeError(message, None, "request_too_large") from None


def _started(events: Iterator[StreamEvent | None]) -> Iterator[StreamEvent | None]:
    """Wait for the first event and return all: an error in its place still sets the status."""
    for waits, event in enumerate(events):
        if event is not None or waits == FIRST_WAITS:
            return chain((event,), events)
    return iter(())
