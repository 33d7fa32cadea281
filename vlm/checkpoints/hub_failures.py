"""The message for an error of a download, and whether to try again."""

from __future__ import annotations

import errno
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from huggingface_hub import errors

from vlm.errors import DiskFullError, FetchError

# If the hub demands a longer wait, the download fails at once and its message says how long.
LONGEST_WAIT_S: Final = 60.0

_KEPT: Final = "try again; the part received so far is kept."
_NO_HUB: Final = "HF_ENDPOINT is not the address of a hub. Correct it, or unset it."
_NOT_REACHED: Final = (
    "The hub cannot be reached{through}. Check the network and any firewall, then try again."
)
_PROXY: Final = (
    "The proxy before the hub refused. Check HTTPS_PROXY and its login, or set NO_PROXY."
)
_OTHER_SERVER: Final = (
    "Something other than the hub answered: a proxy, or the login page of a network. Open any page "
    "in a browser to check, then try again."
)


class TruncatedError(Exception):
    """A response ended normally, but before the end of the file."""


# Searched in this order for the error and, if it is one of the network, its causes.
_OF_ERROR: Final[dict[type[Exception], str]] = {
    errors.OfflineModeIsEnabled: "{hub_id} is not downloaded: HF_HUB_OFFLINE or "
    "TRANSFORMERS_OFFLINE is set.",
    errors.HFValidationError: "{hub_id} is not a valid name of a model on the hub.",
    errors.GatedRepoError: "The owners of {hub_id} require that you accept their terms: do so on "
    "its page on the hub, run `hf auth login`, and try again.",
    errors.RevisionNotFoundError: "{hub_id} has no such revision on the hub.",
    errors.EntryNotFoundError: "A file that {hub_id} lists is not on the hub. Try again later.",
    errors.HfHubHTTPError: "",  # its message depends on the status
    TruncatedError: "The hub sent less of a file than it announced. Check the network, or wait, "
    f"then {_KEPT}",
    httpx2.InvalidURL: _NO_HUB,
    httpx2.UnsupportedProtocol: _NO_HUB,
    httpx2.ProxyError: _PROXY,
    ssl.SSLCertVerificationError: "The hub's certificate is not trusted here; a proxy that reads "
    "the traffic causes this. Set SSL_CERT_FILE to its certificate, or use another network.",
    socket.gaierror: "The hub's name cannot be resolved{through}: is there a network? Connect and "
    "try again.",
    httpx2.ConnectError: _NOT_REACHED,
    httpx2.ConnectTimeout: _NOT_REACHED,
    httpx2.TimeoutException: f"The hub stopped sending. Check the network, then {_KEPT}",
    httpx2.TransportError: f"The connection to the hub broke. Check the network, then {_KEPT}",
    httpx2.HTTPError: "The hub's answer is not valid. Try again later.",
    ValueError: _OTHER_SERVER,
    KeyError: _OTHER_SERVER,
    TypeError: _OTHER_SERVER,
    OSError: "The request to the hub failed on this machine: {reason}.",
}
_LASTING: Final = (httpx2.ProxyError, httpx2.UnsupportedProtocol)
_TEMPORARY: Final = (TruncatedError, socket.gaierror, httpx2.TransportError)
_OF_STATUS: Final = {
    401: "The hub needs a login for {hub_id} (401): there is no such public model, or the access "
    "token is no longer valid. Check the name; for a private model run `hf auth login`.",
    403: "The hub denies access to {hub_id} (403). Check the rights of the access token, and that "
    "no proxy blocks it.",
    404: "There is no model {hub_id} on the hub (404). Check the name.",
    407: _PROXY,
    416: "The hub has less of a file than it announced (416). Try again later.",
}


@dataclass(frozen=True)
class Failure:
    message: str
    is_temporary: bool = False  # so that another attempt may succeed
    wait_s: float | None = None  # before that attempt, if the hub gave a time


def failure_of(error: BaseException, hub_id: str) -> Failure | None:
    """Return what `error` of a request about `hub_id` means; None if it is not about the hub.

    No message contains an address or other text of the server: it could contain a token.
    """
    through = " through the configured proxy" if urllib.request.getproxies() else ""
    causes = list(_causes(error)) if isinstance(error, httpx2.HTTPError) else [error]
    for kind, message in _OF_ERROR.items():
        if any(isinstance(cause, kind) for cause in causes):
            if isinstance(error, errors.HfHubHTTPError) and not message:
                return _refused(error.response, hub_id)
            reason = getattr(error, "strerror", None) or type(error).__name__
            words = message.format(hub_id=hub_id, through=through, reason=reason)
            is_temporary = issubclass(kind, _TEMPORARY) and not issubclass(kind, _LASTING)
            return Failure(words, is_temporary)
    return None


def _refused(response: httpx2.Response, hub_id: str) -> Failure:
    status = response.status_code
    if status == 429:
        # An HTTP date is allowed too, but the hub sends seconds.
        retry_after = response.headers.get("Retry-After", "").strip()
        wait_s = float(retry_after) if retry_after.isdecimal() else None
        problem = "The hub received too many requests from this network (429)."
        if wait_s is not None and wait_s > LONGEST_WAIT_S:
            wait = f"{wait_s:.0f} s" if wait_s < 120 else f"{wait_s / 60:.0f} minutes"
            return Failure(f"{problem} Try again in {wait}.")
        return Failure(f"{problem} Try again in some minutes.", True, wait_s)
    if status == 408 or status >= 500:
        return Failure(f"The hub has a problem ({status}). Try again in some minutes.", True)
    message = _OF_STATUS.get(status, f"The hub refused {{hub_id}} with status {status}.")
    return Failure(message.format(hub_id=hub_id))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def on_disk() -> Iterator[None]:
    """Raise FetchError or DiskFullError for an OSError of the cache's files."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "The disk is full, so the half-downloaded file was removed. Make room, or set "
                "HF_HOME to a folder on another disk."
            ) from None
        raise FetchError(
            f"The hub cache cannot be written: {error.strerror}. Set its access rights, or set "
            "HF_HOME to another folder."
        ) from None
