"""Every error leaves as `{"error": {...}}`; which status and which form it gets is decided here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from vlm import errors
from vlm.errors import SightlineError
from web.request_log import request_log

log = logging.getLogger("sightline")

LOADING_RETRY_AFTER_S = 2

_STATUS_OF_CODE = {
    errors.BadRequestError.code: 400,
    errors.BadImageError.code: 400,
    errors.ImageTooLargeError.code: 413,
    errors.UnsupportedImageError.code: 415,
    errors.BusyError.code: 503,
    errors.NotReadyError.code: 503,
    errors.ModelFailedError.code: 503,
    errors.UnknownModelError.code: 404,
    errors.SupersededError.code: 409,
    errors.SwitchingError.code: 409,
    errors.ModelTooLargeError.code: 409,
    errors.OfflineError.code: 409,
    errors.UpstreamError.code: 502,
    errors.UpstreamDownError.code: 503,
    errors.UpstreamTimeoutError.code: 504,
}

INTERNAL_MESSAGE = "Something went wrong on the server; its terminal says more. Try again."

_CODE_AND_MESSAGE_OF_STATUS = {
    400: ("bad_request", "The request is malformed. The README lists what each route takes."),
    404: ("not_found", "There is nothing at this address. The README lists the routes."),
    405: ("method_not_allowed", "This address does not take this method; see the Allow header."),
    413: ("request_too_large", "The body is larger than what is taken here. Send less."),
    415: ("unsupported_media_type", "Send the image itself, or multipart with the field `image`."),
}


class ForbiddenError(errors.SightlineError):
    """The request comes from where another site's page could have sent it."""

    code = "forbidden"


class UnsupportedMediaTypeError(errors.SightlineError):
    """The body is declared to be something that holds no image."""

    code = "unsupported_media_type"


class FormTooLargeError(errors.SightlineError):
    """A form, or a part of it that is not the picture, is larger than what is taken."""

    code = "form_too_large"


class StoppingError(errors.SightlineError):
    """The server is being ended, and what is under way with it."""

    code = "stopping"


class InternalError(errors.SightlineError):
    """What nobody foresaw; the log says what it was, the client is told no more than that."""

    code = "internal"

    def __init__(self) -> None:
        super().__init__(INTERNAL_MESSAGE)


_STATUS_OF_CODE |= {
    ForbiddenError.code: 403,
    FormTooLargeError.code: 413,
    UnsupportedMediaTypeError.code: 415,
    StoppingError.code: 503,
    InternalError.code: 500,
}


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """The JSON form of an error outside of /v1, in answers and in stream events alike."""
    return {"error": {"code": code, "message": message}}


def error_body_at(
    path: str, code: str, message: str, status: int, param: str | None = None
) -> Mapping[str, Mapping[str, str | None]]:
    """An error in the form that clients of `path` expect."""
    if is_openai_path(path):
        return openai_error_body(code, message, status, param)
    return error_body(code, message)


def body_too_large_code(path: str, content_type: str) -> str:
    """Return the code of a body that is larger than what the server reads on any path."""
    if path != "/api/captions":
        return "request_too_large"
    is_form = content_type.lower().startswith("multipart/")
    return FormTooLargeError.code if is_form else errors.ImageTooLargeError.code


def too_many_bytes(what: str, most_bytes: int) -> str:
    """Return the sentence that `what` has more than `most_bytes`, as people and programs count."""
    unit, unit_bytes = ("MiB", 2**20) if most_bytes % 2**20 == 0 else ("KiB", 2**10)
    return (
        f"{what} has more than {most_bytes // unit_bytes} {unit} ({most_bytes:,} bytes), the most "
        "that is taken."
    )


def status_of(error: errors.SightlineError) -> int:
    """The HTTP status that says who has to act: 4xx the client, 503 wait, 500 us."""
    return error.status if isinstance(error, FieldError) else _STATUS_OF_CODE.get(error.code, 500)


def install_error_handlers(app: Flask) -> None:
    """Answer every error of `app`, foreseen or not, as JSON without traces."""
    app.register_error_handler(errors.SightlineError, _answer_own_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unforeseen_error)


def _answer_own_error(error: errors.SightlineError) -> Response:
    param = error.param if isinstance(error, FieldError) else None
    response = _answer(error.code, str(error), status_of(error), param)
    if isinstance(error, errors.BusyError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, errors.NotReadyError):
        response.headers["Retry-After"] = str(LOADING_RETRY_AFTER_S)
    return response


def _answer_http_error(error: HTTPException) -> Response:
    code, message = _CODE_AND_MESSAGE_OF_STATUS.get(
        error.code or 500, ("http_error", "The server cannot do what was asked.")
    )
    response = _answer(code, message, error.code or 500)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _answer_unforeseen_error(error: Exception) -> Response:
    log.error("Unforeseen error in %s %s", request.method, request.path, exc_info=error)
    return _answer(InternalError.code, INTERNAL_MESSAGE, 500)


def _answer(code: str, message: str, status: int, param: str | None = None) -> Response:
    request_log().error_code = code
    response = jsonify(error_body_at(request.path, code, message, status, param))
    response.status_code = status
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


# One image of the largest size in base64, and words; less than what the server itself takes, so
# that a client gets to read the refusal.
MAX_BODY_BYTES: Final = 12 * 2**20
OPENAI_TOO_LARGE: Final = (
    f"{too_many_bytes('The body', MAX_BODY_BYTES)} Send fewer or smaller images."
)


class FieldError(SightlineError):
    """A request under /v1 is refused with `status` because of its field `param`, if it has one."""

    def __init__(
        self, message: str, param: str | None, code: str = "invalid_value", status: int = 400
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


def is_openai_path(path: str) -> bool:
    """Whether what is at `path` speaks as OpenAI's API does."""
    return path == "/v1" or path.startswith("/v1/")


def openai_error_body(
    code: str, message: str, status: int, param: str | None = None
) -> dict[str, dict[str, str | None]]:
    """An error in OpenAI's form, in answers and in stream events alike."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
