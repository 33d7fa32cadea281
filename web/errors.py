"""Map each error to an HTTP status, and answer it as JSON: `{"error": {...}}`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from vlm import errors
from vlm.errors import SightlineError
from web.paths import family_of
from web.request_log import request_log

log = logging.getLogger("sightline")

# Bytes of a body under /v1: one image of the largest size in base64, and text. It is less than the
# server itself accepts, so that a client receives the refusal.
MAX_BODY_BYTES: Final = 24 * 2**20

# Headers of answers to chats: the name of the model that answered, and the fields of the request
# that had no effect.
MODEL_HEADER: Final = "X-Sightline-Model"
IGNORED_HEADER: Final = "X-Sightline-Ignored"

# Routes whose body is a picture.
PICTURE_PATHS: Final = (
    "/api/captions",
    "/api/labels",
    "/api/aspects",
    "/api/hiding",
    "/api/patches",
    "/api/where",
    "/api/boxes",
    "/api/things",
    "/api/text",
)

# How the endpoints of routes end that only answer with NotOfferedError.
NOT_OFFERED: Final = "not_offered"

INTERNAL_MESSAGE: Final = "Something went wrong on the server; its terminal says more. Try again."


class ForbiddenError(SightlineError):
    """The request may come from a page of another site."""

    code = "forbidden"


class ClientKeyError(SightlineError):
    """A request under /v1 has no key, or a wrong one."""

    code = "invalid_api_key"


class UnsupportedMediaTypeError(SightlineError):
    """The Content-Type of the body is not one that this route reads."""

    code = "unsupported_media_type"


class FormTooLargeError(SightlineError):
    """A form, or a part of it other than the image, is too large."""

    code = "form_too_large"


class StoppingError(SightlineError):
    """The server is shutting down; requests in flight end with it."""

    code = "stopping"


class InternalError(SightlineError):
    """An unexpected exception. The log has it, the client gets only this message."""

    code = "internal"

    def __init__(self) -> None:
        super().__init__(INTERNAL_MESSAGE)


class FieldError(SightlineError):
    """The body of a chat is refused, because of its field `param` unless that is None.

    `code` is one of OpenAI's codes or ours.
    """

    def __init__(self, message: str, param: str | None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class FieldTooLargeError(FieldError):
    """The body, or an image in it, is too large."""


class EmptyAnswerError(FieldError):
    """The answer has no text, which many clients take for a fault and ask again."""

    def __init__(self, message: str, param: str | None) -> None:
        super().__init__(message, param, "empty_answer")


class NotOfferedError(SightlineError):
    """Another server has this route, and this one knows it and does not do what it does."""

    code = "not_supported"


class ModelNotFoundError(FieldError):
    """The field `model` names a model that does not run."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "model", "model_not_found")


class ResponseNotFoundError(FieldError):
    """The path names an answer of `/v1/responses`, of which none is kept."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "response_id", "response_not_found")


# A subclass has the status of its base class unless it is listed itself; all others are 500.
_STATUS: Final[Mapping[type[SightlineError], int]] = {
    errors.BadRequestError: 400,
    errors.BadImageError: 400,
    FieldError: 400,
    # Its client has left, and does not receive it.
    errors.StreamClosedError: 400,
    ClientKeyError: 401,
    ForbiddenError: 403,
    errors.UnknownModelError: 404,
    errors.UnknownMomentError: 404,
    ModelNotFoundError: 404,
    ResponseNotFoundError: 404,
    errors.SupersededError: 409,
    errors.SwitchingError: 409,
    errors.ModelTooLargeError: 409,
    errors.OfflineError: 409,
    errors.ImageTooLargeError: 413,
    FormTooLargeError: 413,
    FieldTooLargeError: 413,
    errors.UnsupportedImageError: 415,
    UnsupportedMediaTypeError: 415,
    # Clients repeat a request after 5xx; it would have the same answer.
    EmptyAnswerError: 422,
    errors.NotSupportedError: 501,
    NotOfferedError: 501,
    errors.UpstreamError: 502,
    errors.BusyError: 503,
    errors.NotReadyError: 503,
    errors.ModelFailedError: 503,
    errors.ReaderUnavailableError: 503,
    errors.PartOffError: 503,
    errors.PartFailedError: 503,
    errors.TimelineError: 503,
    StoppingError: 503,
    errors.UpstreamDownError: 503,
    errors.UpstreamTimeoutError: 504,
}

# For errors that Flask raises: the code and the message.
_HTTP_ERRORS: Final = {
    400: ("bad_request", "The request is malformed. docs/http.md lists what each route accepts."),
    404: ("not_found", "There is nothing at this address. docs/http.md lists the routes."),
    405: ("method_not_allowed", "This address does not accept this method; see the Allow header."),
    413: ("request_too_large", "The body is larger than this address accepts. Send less."),
    415: ("unsupported_media_type", "Send the image itself, or multipart with the field `image`."),
}


@dataclass(frozen=True)
class ErrorDetail:
    """What went wrong: `code` for programs, which does not change, and `message` for people."""

    code: str
    message: str


@dataclass(frozen=True)
class ErrorAnswer:
    """The body of an error outside of /v1, and the data of an `error` event."""

    error: ErrorDetail


@dataclass(frozen=True)
class OpenAIErrorDetail:
    """What went wrong; `param` is the path of the wrong field, if one is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


@dataclass(frozen=True)
class OpenAIErrorAnswer:
    """The body of an error under /v1, and the last event of a stream that fails."""

    error: OpenAIErrorDetail


@dataclass(frozen=True)
class OllamaErrorAnswer:
    """The body of an error of Ollama's API, and the last line of a stream that fails."""

    error: str


def status_of(error: SightlineError) -> int:
    """Return the HTTP status: 4xx if the client can mend it, 503 if waiting helps, else 500."""
    return next((_STATUS[base] for base in type(error).__mro__ if base in _STATUS), 500)


def error_body(code: str, message: str) -> dict[str, Any]:
    """Return the JSON of an error outside of /v1, for an answer or an event."""
    return asdict(ErrorAnswer(ErrorDetail(code, message)))


def openai_error_body(
    code: str, message: str, status: int, param: str | None = None
) -> dict[str, Any]:
    """Return the JSON of an error under /v1, for an answer or an event."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return asdict(OpenAIErrorAnswer(OpenAIErrorDetail(message, kind, param, code)))


def ollama_error_body(message: str, param: str | None = None) -> dict[str, Any]:
    """Return the JSON of an error of Ollama's API, which names the wrong field in its text."""
    if param is not None and f"`{param}" not in message:
        message = f"`{param}`: {message}"
    return asdict(OllamaErrorAnswer(message))


def error_body_at(
    path: str, code: str, message: str, status: int, param: str | None = None
) -> dict[str, Any]:
    """Return the JSON of an error in the form that clients of `path` expect."""
    family = family_of(path)
    if family == "openai":
        return openai_error_body(code, message, status, param)
    return ollama_error_body(message, param) if family == "ollama" else error_body(code, message)


def body_too_large_code(path: str, content_type: str) -> str:
    """Return the code for a body that is larger than the server reads on any path."""
    if path not in PICTURE_PATHS:
        return "request_too_large"
    is_form = content_type.lower().startswith("multipart/")
    return FormTooLargeError.code if is_form else errors.ImageTooLargeError.code


def too_many_bytes(what: str, most_bytes: int) -> str:
    """Return a sentence: `what` has more than `most_bytes`, in a unit and in plain bytes."""
    unit, unit_bytes = ("MiB", 2**20) if most_bytes % 2**20 == 0 else ("KiB", 2**10)
    return (
        f"{what} has more than {most_bytes // unit_bytes} {unit} ({most_bytes:,} bytes), the most "
        "that is accepted."
    )


def install_error_handlers(app: Flask) -> None:
    """Answer every exception of `app` as JSON without a traceback."""
    app.register_error_handler(SightlineError, _answer_own_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected_error)


def _answer_own_error(error: SightlineError) -> Response:
    param = error.param if isinstance(error, FieldError) else None
    response = _answer(error.code, str(error), status_of(error), param)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _answer_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code, message = _HTTP_ERRORS.get(
        status, ("http_error", "The server cannot answer this request.")
    )
    if status == 404:
        message = _what_exists() or message
    response = _answer(code, message, status)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _what_exists() -> str:
    """Return the routes of the API that the request's path belongs to; empty for our own."""
    family = family_of(request.path)
    if family == "own":
        return ""
    routes = sorted(
        f"{method} {re.sub('<[^>]*>', 'NAME', rule.rule)}"
        for rule in current_app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST"}
        if family_of(rule.rule) == family and not rule.endpoint.endswith(NOT_OFFERED)
    )
    return f"There is nothing at this address. This server has {', '.join(routes)}."


def _answer_unexpected_error(error: Exception) -> Response:
    log.error("Unexpected error in %s %s", request.method, request.path, exc_info=error)
    return _answer(InternalError.code, INTERNAL_MESSAGE, 500)


def _answer(code: str, message: str, status: int, param: str | None = None) -> Response:
    request_log().error_code = code
    response = jsonify(error_body_at(request.path, code, message, status, param))
    response.status_code = status
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
