"""Answer an HTTP request with a chat of the running model: read, submit, whole or streamed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import quote

from flask import Request as HttpRequest
from flask import Response
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import (
    BadRequestError,
    GenerationError,
    StreamClosedError,
)
from vlm.results import Result, StreamEvent
from vlm.scheduler.worker import Worker
from vlm.types import Request
from web.errors import (
    IGNORED_HEADER,
    MAX_BODY_BYTES,
    MODEL_HEADER,
    EmptyAnswerError,
    FieldError,
    FieldTooLargeError,
    UnsupportedMediaTypeError,
    too_many_bytes,
)
from web.request_log import request_log
from web.streaming import Admission, Place, read_events, running_model
from web.wsgi import watch_client

if TYPE_CHECKING:
    from pydantic import BaseModel

# If there is no first token after so many KEEPALIVE_S, a streamed answer begins without one.
FIRST_WAITS: Final = 10
# nginx's status for a client that has disconnected; it only appears in logs.
CLIENT_CLOSED_REQUEST: Final = 499

# A body and its images take some hundred megabytes while they are read, so few are read at once.
_reading: Final = threading.BoundedSemaphore(2)

Body = TypeVar("Body")


class Answer(Protocol):
    """Makes the answer to one chat from the events of its stream."""

    @property
    def stream_type(self) -> str:
        """The media type of a streamed answer."""

    def whole(self, events: Iterable[StreamEvent | None]) -> BaseModel | None:
        """Return the whole answer, or None if `events` end without a Result.

        Raises the SightlineError that `events` raise.
        """

    def chunks(self, events: Iterable[StreamEvent | None]) -> Iterator[str]:
        """Yield the parts of a streamed answer; a SightlineError of `events` is the last."""


@dataclass(frozen=True)
class Asked:
    """A chat that was read."""

    request: Request
    answer: Answer
    """To be filled."""
    is_streamed: bool
    ignored: tuple[str, ...] = ()
    """Names of fields that have no effect."""
    texts_param: str = "messages"
    """The field of the texts, for refusals."""
    stop_param: str = "stop"
    """The field of the texts at which the answer ends, for refusals."""


@dataclass(frozen=True)
class Ready:
    """An answer that needs no model."""

    answer: BaseModel
    ignored: tuple[str, ...]
    """Names of fields that have no effect."""


def answer_chat(
    request: HttpRequest,
    worker: Worker,
    admission: Admission,
    parse: Callable[[bytes], Body],
    ask: Callable[[Body, str, Callable[[], bool]], Asked | Ready],
    *,
    needs_json_type: bool = True,
) -> Response:
    """Return the answer to `request`, streamed or whole.

    `parse` checks the fields of the body. `ask` decodes its images, or returns an answer that needs
    no model; its other arguments are the name of the running model, and whether the client has
    left. `needs_json_type`: refuse a body that is not sent as JSON.

    Raises a SightlineError if the request is refused or fails before its first token.
    """
    entry = request_log()
    entry.wants_answer = True
    if needs_json_type and request.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with `Content-Type: application/json`.")
    with ExitStack() as held:
        place = held.enter_context(admission.place())
        is_cancelled = watch_client(request.environ)
        body = read_body(request, place, parse, is_cancelled)
        model = running_model(worker).model
        asked = ask(body, model, is_cancelled)
        entry.ignored = asked.ignored
        headers = answer_headers(model, asked.ignored)
        if isinstance(asked, Ready):
            entry.wants_answer = False
            return _json(asked.answer, headers)
        parts = [part for message in asked.request.answer_task.messages for part in message.parts]
        place.hold_images(part for part in parts if not isinstance(part, str))
        entry.request = asked.request
        stream = held.enter_context(admission.submitted(worker, entry))
        events = _with_text(read_events(stream, admission, entry), asked)
        try:
            if not asked.is_streamed:
                whole = asked.answer.whole(events)
                if whole is None:
                    return Response(status=CLIENT_CLOSED_REQUEST)
                return _json(whole, headers)
            events = _started(events)
        except BadRequestError as error:
            # The model cannot read these messages: they are too long, or its template refuses them.
            field = error.chat_field
            field = asked.texts_param if field == "messages" else field
            raise FieldError(str(error), field, error.code) from None
        response = Response(
            asked.answer.chunks(events),
            mimetype=asked.answer.stream_type,
            headers=headers | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # Runs however the answer ends: read to its end, cancelled, or never started.
        response.call_on_close(held.pop_all().close)
        return response


def read_body(
    request: HttpRequest,
    place: Place,
    parse: Callable[[bytes], Body],
    is_cancelled: Callable[[], bool],
) -> Body:
    """Return what `parse` makes of the body; raises FieldTooLargeError, BusyError."""
    place.hold(min(request.content_length or 0, MAX_BODY_BYTES))
    with _reading:
        if is_cancelled():
            raise StreamClosedError("The client has left before its request was read.")
        return parse(_data(request))


def answer_headers(model: str, ignored: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the headers of an answer: the true name of the model, and what was ignored."""
    more = {IGNORED_HEADER: ", ".join(ignored)} if ignored else {}
    return {MODEL_HEADER: quote(model, safe="/:@ "), **more}


def _json(body: BaseModel, headers: dict[str, str]) -> Response:
    return Response(body.model_dump_json(), mimetype="application/json", headers=headers)


def _data(request: HttpRequest) -> bytes:
    """Return the body; raises FieldTooLargeError."""
    request.max_content_length = MAX_BODY_BYTES
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        message = f"{too_many_bytes('The body', MAX_BODY_BYTES)} Send fewer or smaller images."
        raise FieldTooLargeError(message, None, "request_too_large") from None


def _with_text(events: Iterator[StreamEvent | None], asked: Asked) -> Iterator[StreamEvent | None]:
    """Yield `events`, and raise an error in place of a Result that no client understands.

    A cut answer must not look like a whole one. Clients take an answer without text for a fault:
    some ask ten times, some make up an object.
    """
    task = asked.request.answer_task
    # An expression or a choice may allow an empty answer.
    may_be_empty = task.form is not None and task.form.kind != "json_schema"
    for event in events:
        if isinstance(event, Result):
            if event.finish_reason == "cancelled":
                raise GenerationError("The answer was cancelled.")
            if not event.text and event.finish_reason != "length":
                if task.stop and event.stats.tokens:
                    raise EmptyAnswerError(
                        f"The answer begins with a text of `{asked.stop_param}`, so nothing of it "
                        "is left. Leave out that text.",
                        asked.stop_param,
                    )
                if not may_be_empty:
                    raise EmptyAnswerError(
                        "The model ended its answer before the first word. Ask in other words.",
                        asked.texts_param,
                    )
        yield event


def _started(events: Iterator[StreamEvent | None]) -> Iterator[StreamEvent | None]:
    """Wait for the first event and return all: an error in its place still sets the status."""
    for waits, event in enumerate(events):
        if event is not None or waits == FIRST_WAITS:
            return chain((event,), events)
    return iter(())
