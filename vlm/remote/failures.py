"""Failures of a server: the message, the error for the client, and whether to retry."""

from __future__ import annotations

import json
import math
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from vlm.errors import (
    BadRequestError,
    BusyError,
    SightlineError,
    UpstreamDownError,
    UpstreamError,
    UpstreamTimeoutError,
    causes,
    parse_retry_after,
)
from vlm.network.certificates import certificate_words

if TYPE_CHECKING:
    import httpx2

FailureKind = Literal["down", "busy", "slow", "broken", "denied", "refused"]

_MAX_QUOTED_CHARS: Final = 300
# Where an error has its message, and how deep.
_MESSAGES: Final = ("error", "message", "detail", "msg")
_MAX_DEPTH: Final = 8


class UpstreamFailure(Exception):
    """One attempt at one server that failed."""

    kind: FailureKind
    """"down": the server cannot be reached, or the connection broke. "busy": it accepts no request
    now. "slow": a time limit passed. "broken": its answer is invalid. "denied": the key, the model
    or the address is wrong. "refused": it does not accept this request."""
    words: str
    """The end of a sentence that begins with the server's origin."""
    retry_after_s: float | None
    """Seconds after which a busy server accepts requests, if it said so."""
    body: bytes
    """The body of a refusal."""
    has_no_list: bool
    """It is about the list of models, and says nothing of the models themselves."""
    has_begun: bool
    """The server had begun to answer."""

    def __init__(
        self,
        kind: FailureKind,
        words: str,
        retry_after_s: float | None = None,
        body: bytes = b"",
        has_no_list: bool = False,
    ) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words
        self.retry_after_s = retry_after_s
        self.body = body
        self.has_no_list = has_no_list
        self.has_begun = False

    @property
    def may_retry(self) -> bool:
        """Return whether the server did not work on the request: no work is to be done twice."""
        return self.kind in ("down", "busy") and not self.has_begun

    def error(self, origin: str) -> SightlineError:
        """Return the error for the client."""
        message = f"{origin} {self.words}"
        if self.kind == "down":
            return UpstreamDownError(message)
        if self.kind == "busy":
            return BusyError(message, max(1, math.ceil(self.retry_after_s or 1)))
        if self.kind == "slow":
            return UpstreamTimeoutError(message)
        return BadRequestError(message) if self.kind == "refused" else UpstreamError(message)


def fail(words: str) -> NoReturn:
    """Raise UpstreamFailure for an invalid answer."""
    raise UpstreamFailure("broken", words)


def failure_of_status(
    status: int, headers: Mapping[str, str], body: bytes, key: str | None
) -> UpstreamFailure:
    """Return what an answer with a status other than 200 means; `key` is never quoted."""
    if 300 <= status < 400:
        return UpstreamFailure(
            "denied",
            f"redirects to another address ({status}), which is not followed. Give that address as "
            "--base-url.",
        )
    if status in (401, 403):
        return UpstreamFailure("denied", f"rejects the key ({status}). Check --api-key-file.")
    if status in (404, 405):
        return UpstreamFailure(
            "denied",
            f"has no such address or model ({status}){_quoted_error(body, key)}. Check --base-url, "
            "which usually ends in /v1, and --remote-model.",
            body=body,
        )
    if status in (400, 413, 415, 422):
        words = f"rejects the request ({status}){_quoted_error(body, key)}."
        return UpstreamFailure("refused", words, body=body)
    if status in (408, 429, 502, 503):
        retry_after_s = parse_retry_after(headers.get("retry-after", ""))
        return UpstreamFailure("busy", f"is busy ({status}).", retry_after_s)
    if status == 504:
        return UpstreamFailure("slow", "is a gateway, and the server behind it timed out (504).")
    if status >= 500:
        return UpstreamFailure("broken", f"failed ({status}){_quoted_error(body, key)}.", body=body)
    return UpstreamFailure("broken", f"answered with an unexpected status ({status}).")


def failure_of_error(error: httpx2.HTTPError, has_begun: bool) -> UpstreamFailure:
    """Return what a broken connection means; `has_begun` says whether an answer had begun."""
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout):
        return UpstreamFailure("down", "cannot be reached: the connection timed out.")
    if isinstance(error, httpx2.ConnectError):
        return UpstreamFailure("down", f"cannot be reached: {_connect_reason(error)}.")
    if isinstance(error, httpx2.TimeoutException):
        return UpstreamFailure("slow", "stopped reading the request.")
    if isinstance(error, httpx2.SSEError):
        return UpstreamFailure("broken", "does not answer with a stream of events.")
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
        where = "in the middle of an answer" if has_begun else "before it answered"
        return UpstreamFailure("down", f"closed the connection {where}.")
    return UpstreamFailure("broken", "sent an answer that is not valid HTTP.")


def _connect_reason(error: BaseException) -> str:
    found = list(causes(error))
    for cause in found:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return certificate_words(cause)
    if any(isinstance(cause, ssl.SSLError) for cause in found):
        return "it does not speak https"
    if any(isinstance(cause, socket.gaierror) for cause in found):
        return "its name cannot be resolved"
    if any(isinstance(cause, ConnectionRefusedError) for cause in found):
        return "nothing listens there"
    return "there is no route to it"


def _quoted_error(body: bytes, key: str | None) -> str:
    """Return the message in an error's body as `quoted` does; empty if the body has none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return quoted(error_message(value), key)


def quoted(message: str | None, key: str | None) -> str:
    """Return `: "message"`, short, on one line and without `key`; empty if there is no message."""
    if not message:
        return ""
    shown = message.replace(key, "***") if key else message
    plain = "".join(char for char in " ".join(shown.split()) if char.isprintable())
    cut = plain if len(plain) <= _MAX_QUOTED_CHARS else f"{plain[:_MAX_QUOTED_CHARS]}..."
    return f': "{cut}"'


def error_message(value: object) -> str | None:
    """Return the message of a JSON error, in any of the forms that servers use."""
    for _ in range(_MAX_DEPTH):
        if isinstance(value, list):
            # FastAPI lists one object for each invalid field, Gemini puts the error into a list.
            value = value[0] if value else None
        if not isinstance(value, dict):
            break
        value = next((value[name] for name in _MESSAGES if value.get(name)), None)
    return value if isinstance(value, str) else None
