"""Why a server gave no caption: in words, as an error, and whether another try may help."""

from __future__ import annotations

import email.utils
import json
import math
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal

from vlm.errors import (
    BadRequestError,
    BusyError,
    SightlineError,
    UpstreamDownError,
    UpstreamError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    import httpx2

Kind = Literal["down", "busy", "slow", "broken", "denied", "refused"]

_QUOTED_CHARS: Final = 300


class Failure(Exception):
    """Why one try at one server came to nothing; `words` go on after the server's origin.

    `kind` is "down": it cannot be reached, or broke off; "busy": it asks to come again, after
    `retry_after_s` where it says so; "slow": it took too long; "broken": its answer is none;
    "denied": it wants another key, model or address; "refused": it does not take this request,
    and `said` is all that it says about that.
    """

    def __init__(
        self, kind: Kind, words: str, retry_after_s: float | None = None, said: bytes = b""
    ) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words
        self.retry_after_s = retry_after_s
        self.said = said

    @property
    def may_retry(self) -> bool:
        """Whether the request was never worked on, so that sending it again does nothing twice."""
        return self.kind in ("down", "busy")

    def error(self, origin: str) -> SightlineError:
        """What the client is told."""
        message = f"{origin} {self.words}"
        if self.kind == "down":
            return UpstreamDownError(message)
        if self.kind == "busy":
            return BusyError(message, max(1, math.ceil(self.retry_after_s or 1)))
        if self.kind == "slow":
            return UpstreamTimeoutError(message)
        return BadRequestError(message) if self.kind == "refused" else UpstreamError(message)


def failure_of_status(
    status: int, headers: Mapping[str, str], body: bytes, key: str | None
) -> Failure:
    """What an answer with another status than 200 means; `key` is never quoted from `body`."""
    if 300 <= status < 400:
        return Failure(
            "denied",
            f"answers with a redirect ({status}), which is not followed. Name the address that it "
            "leads to in --base-url.",
        )
    if status in (401, 403):
        return Failure("denied", f"asks for another key ({status}). Check --api-key-file.")
    if status in (404, 405):
        return Failure(
            "denied",
            f"knows no such address or model ({status}). Check --base-url, which mostly ends in "
            "/v1, and --remote-model.",
        )
    if status in (400, 413, 415, 422):
        words = f"refuses the request ({status}){_quoted(body, key)}."
        return Failure("refused", words, said=body)
    if status in (408, 429, 502, 503):
        return Failure("busy", f"asks to come again later ({status}).", _retry_after_s(headers))
    if status == 504:
        return Failure("slow", "stands before a server that took too long (504).")
    if status >= 500:
        return Failure("broken", f"has failed ({status}){_quoted(body, key)}.")
    return Failure("broken", f"answers with status {status}, which says nothing.")


def failure_of_error(error: httpx2.HTTPError, has_begun: bool) -> Failure:
    """What a broken connection means; `has_begun` tells whether an answer had begun."""
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout):
        return Failure("down", "cannot be reached: nothing answers there.")
    if isinstance(error, httpx2.ConnectError):
        return Failure("down", f"cannot be reached: {_reason(error)}.")
    if isinstance(error, httpx2.TimeoutException):
        return Failure("slow", "has stopped listening.")
    if isinstance(error, httpx2.SSEError):
        return Failure("broken", "sends something else than an answer in events.")
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
        where = "in the middle of an answer" if has_begun else "before it answered"
        return Failure("down", f"broke off {where}.")
    return Failure("broken", "sends an answer that makes no sense.")


def _reason(error: BaseException) -> str:
    causes = list(_chain(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "its certificate is not trusted here; SSL_CERT_FILE can name the one to trust"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "it does not speak https"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its name is not known"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "nothing listens there"
    return "there is no way to it"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, what it comes from, and the parts of a group: an address each that was tried."""
    while error is not None:
        yield error
        for part in getattr(error, "exceptions", ()):
            yield from _chain(part)
        error = error.__cause__ or error.__context__


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdecimal() and len(told) < 10:
        return float(told)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _quoted(body: bytes, key: str | None) -> str:
    """What an error's body says, as the end of a sentence; nothing where it is not in its form."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return quoted(message_in(said), key)


def quoted(message: str | None, key: str | None) -> str:
    """`: "message"`, short, in one line and without `key`; nothing where there is no message."""
    if not message:
        return ""
    shown = message.replace(key, "***") if key else message
    plain = "".join(char for char in " ".join(shown.split()) if char.isprintable())
    cut = plain if len(plain) <= _QUOTED_CHARS else f"{plain[:_QUOTED_CHARS]}..."
    return f': "{cut}"'


def message_in(said: object) -> str | None:
    """The message of an error in one of the forms that servers give it."""
    if not isinstance(said, dict):
        return None
    error = said.get("error", said)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    if isinstance(error, list) and error and isinstance(error[0], dict):
        # As FastAPI tells what is wrong with fields.
        error = error[0].get("msg")
    return error if isinstance(error, str) else None
