"""What a failed request to the hub means: whether to ask again, and what to tell a person."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

# A hub that asks for more patience is told to the person, who can do something else meanwhile.
LONGEST_WAIT_S: Final = 60.0
# Attempts in a row that bring nothing new.
_BROKEN_ATTEMPTS: Final = 4
_BUSY_ATTEMPTS: Final = 3
_FAILED_ATTEMPTS: Final = 2


class TruncatedError(Exception):
    """A response ended well, and before the file did."""


@dataclass(frozen=True)
class Failure:
    """What to do about an error: tell `message` at once, or ask again up to `attempts` times.

    `note` is what a person is told while waiting for the next attempt; `wait_s` is for how long,
    where the hub has said so.
    """

    message: str
    attempts: int = 1
    wait_s: float | None = None
    note: str = ""


def failure_of(error: BaseException, hub_id: str) -> Failure | None:
    """What `error` of a request about `hub_id` means; None for an error that is not the hub's.

    No message holds an address or anything else that the other side chose: a token could be in it.
    """
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return Failure(
            f"{hub_id} is not fetched, as HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set."
        )
    if isinstance(error, errors.HFValidationError):
        return Failure(f"{hub_id} is no name that a model on the hub can have.")
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error, hub_id)
    if isinstance(error, TruncatedError):
        return Failure(
            "The hub sends less of a file than it has said. Try again later; what has been "
            "received is kept.",
            _FAILED_ATTEMPTS,
        )
    if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        return Failure("HF_ENDPOINT is no address of a hub. Correct it, or unset it.")
    if isinstance(error, httpx2.HTTPError):
        return _broken(error)
    if isinstance(error, (ValueError, KeyError, TypeError)):
        return Failure(
            "Something else than the hub answered: a proxy, or the login page of a network. "
            "Open any page in a browser to see, then try again."
        )
    if isinstance(error, OSError):
        return Failure(f"The hub cannot be asked: {error.strerror or type(error).__name__}.")
    return None


def _refused(error: Any, hub_id: str) -> Failure:
    from huggingface_hub import errors

    status: int = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return Failure(
            f"The owners of {hub_id} ask you to accept their terms first: do so on its page on the "
            "hub, run `hf auth login`, and try again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return Failure(f"{hub_id} has no such revision on the hub.")
    if isinstance(error, errors.EntryNotFoundError):
        return Failure(f"A file that {hub_id} lists is not on the hub. Try again later.")
    if status == 401:
        return Failure(
            f"The hub asks who wants {hub_id} (401): there is no such public model, or the access "
            "token in use is no longer valid. Check the name; for a private model run "
            "`hf auth login`."
        )
    if status == 403:
        return Failure(
            f"The hub does not let you have {hub_id} (403). Check that the access token in use may "
            "read it, or that no proxy forbids it."
        )
    if status == 404:
        return Failure(f"There is no model {hub_id} on the hub (404). Check the name.")
    if status == 407:
        return _PROXY
    if status == 429:
        return _too_many(error.response.headers)
    if status == 416:
        return Failure("The hub has less of a file than it said (416).")
    if status == 408 or status >= 500:
        return Failure(
            f"The hub has a problem of its own ({status}). Try again in some minutes.",
            _FAILED_ATTEMPTS,
            note=f"The hub has a problem of its own ({status}); asking again.",
        )
    return Failure(f"The hub refuses {hub_id} with status {status}.")


def _too_many(headers: Any) -> Failure:
    told = str(headers.get("Retry-After", "")).strip()
    # An HTTP date is allowed too; the hub sends seconds.
    wait_s = float(told) if told.isdecimal() else None
    message = "The hub has had too many requests from here (429)."
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        return Failure(f"{message} It asks to try again in {_in_words(wait_s)}.")
    asked = "" if wait_s is None else f" and asks to wait {_in_words(wait_s)}"
    return Failure(
        f"{message} Try again in some minutes.",
        _BUSY_ATTEMPTS,
        wait_s,
        f"The hub has had too many requests from here{asked}.",
    )


def _in_words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"


_PROXY: Final = Failure(
    "The proxy between here and the hub refuses. Check HTTPS_PROXY and what it demands, or set "
    "NO_PROXY."
)


def _broken(error: Exception) -> Failure:
    import httpx2

    causes = list(_chain(error))
    if isinstance(error, httpx2.ProxyError):
        return _PROXY
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Failure(
            "The hub's certificate is not trusted here, as happens where a proxy reads along. Name "
            "the proxy's certificate in SSL_CERT_FILE, or use another network."
        )
    through = " through the proxy that is set" if urllib.request.getproxies() else ""
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Failure(
            f"The hub's name cannot be looked up{through}: is there a network? Connect and try "
            "again.",
            _FAILED_ATTEMPTS,
        )
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return Failure(
            f"The hub cannot be reached{through}. Check the network and any firewall, then try "
            "again.",
            _FAILED_ATTEMPTS,
            note="The hub cannot be reached; trying again.",
        )
    if isinstance(error, httpx2.TimeoutException):
        return Failure(
            "The hub has stopped sending. Check the network, then try again; what has been "
            "received is kept.",
            _BROKEN_ATTEMPTS,
            note="The hub has stopped sending; asking again.",
        )
    if isinstance(error, httpx2.TransportError):
        return Failure(
            "The connection to the hub breaks off again and again. Check the network, then try "
            "again; what has been received is kept.",
            _BROKEN_ATTEMPTS,
            note="The connection broke off; going on where it did.",
        )
    return Failure("The hub's answer makes no sense. Try again later.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
