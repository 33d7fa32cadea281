"""The message for an error of a download, and whether to try again."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import httpx2
from huggingface_hub import errors

from vlm.checkpoints.hub_answer import OtherContentError, TruncatedError
from vlm.errors import DiskFullError, FetchError, causes
from vlm.network.certificates import CertificateFileError, certificate_words
from vlm.network.proxies import ProxySettingError, proxy_of, proxy_words

# If the hub demands a longer wait, the download fails at once and its message says how long.
LONGEST_WAIT_S: Final = 60.0

_KEPT: Final = "try again; the part received so far is kept."
_NO_HUB: Final = "HF_ENDPOINT is not the address of a hub. Correct it, or unset it."
_NOT_REACHED: Final = "{hub} cannot be reached. Check the network and any firewall, then try again."
_OTHER_SERVER: Final = (
    "Something other than the hub answered: a proxy, or the login page of a network. Open any page "
    f"in a browser to check, then {_KEPT}"
)
_LOGIN_STATUS: Final = 511  # Network Authentication Required
_PROXY_LOGIN: Final = (
    "A proxy before the hub demands a login (407). Set HTTPS_PROXY to its address with the login."
)

# Searched in this order for the error and, if it is one of the network, its causes. "{hub}" is the
# hub, or the host to which it has sent this machine.
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
    OtherContentError: _OTHER_SERVER,
    ProxySettingError: "{words}",
    CertificateFileError: "{words}",
    httpx2.InvalidURL: _NO_HUB,
    httpx2.UnsupportedProtocol: _NO_HUB,
    ssl.SSLCertVerificationError: "{words}.",
    socket.gaierror: "The name of {hub} cannot be resolved: is there a network? Connect and try "
    "again.",
    httpx2.ConnectError: _NOT_REACHED,
    httpx2.ConnectTimeout: _NOT_REACHED,
    httpx2.TimeoutException: f"{{hub}} stopped sending. Check the network, then {_KEPT}",
    httpx2.TransportError: f"The connection to {{hub}} broke. Check the network, then {_KEPT}",
    httpx2.TooManyRedirects: _OTHER_SERVER,
    httpx2.HTTPError: "The answer of {hub} is not valid. Try again later.",
    ValueError: _OTHER_SERVER,
    KeyError: _OTHER_SERVER,
    TypeError: _OTHER_SERVER,
    OSError: "The request to the hub failed on this machine: {reason}.",
}
_LASTING: Final = (httpx2.UnsupportedProtocol,)
_TEMPORARY: Final = (TruncatedError, socket.gaierror, httpx2.TransportError)
_OF_STATUS: Final = {
    401: "The hub needs a login for {hub_id} (401): there is no such public model, or the access "
    "token is no longer valid. Check the name; for a private model run `hf auth login`.",
    403: "The hub denies access to {hub_id} (403). Check the rights of the access token, and that "
    "no proxy blocks it.",
    404: "There is no model {hub_id} on the hub (404). Check the name.",
    407: _PROXY_LOGIN,
    416: "The hub has less of a file than it announced (416). Try again later.",
    _LOGIN_STATUS: _OTHER_SERVER,
}


@dataclass(frozen=True)
class Failure:
    message: str
    is_temporary: bool = False  # so that another attempt may succeed
    wait_s: float | None = None  # before that attempt, if the hub gave a time


@dataclass(frozen=True)
class _Host:
    """The host that a request went to."""

    name: str
    is_hub: bool

    def __str__(self) -> str:
        return "the hub" if self.is_hub else f"{self.name}, where the hub keeps the weights,"

    @property
    def advice(self) -> str:
        """Further advice if this is not the hub itself."""
        return "" if self.is_hub else f" A firewall must allow {self.name} as well as the hub."


def failure_of(error: BaseException, hub_id: str, hub_host: str) -> Failure | None:
    """Return what `error` of a request about `hub_id` means; None if it is not about the hub.

    `hub_host` is the hub's own host; the weights may lie on another one. No message contains an
    address or other text of the server: it could contain a token.
    """
    host = _host_of(error, hub_host)
    proxy = proxy_of(_request_of(error))
    if proxy is not None and (words := proxy_words(error, proxy)) is not None:
        is_temporary = not isinstance(error, httpx2.ProxyError | errors.HfHubHTTPError)
        return Failure(_sentence(f"{words}.{host.advice}"), is_temporary)
    found = list(causes(error)) if isinstance(error, httpx2.HTTPError) else [error]
    for kind, message in _OF_ERROR.items():
        cause = next((each for each in found if isinstance(each, kind)), None)
        if cause is None:
            continue
        if isinstance(error, errors.HfHubHTTPError) and not message:
            return _refused(error.response, hub_id, host)
        words = str(cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            words = certificate_words(cause, "the hub's" if host.is_hub else f"{host.name}'s")
        reason = getattr(error, "strerror", None) or type(error).__name__
        told = message.format(hub=host, hub_id=hub_id, words=words, reason=reason)
        is_temporary = issubclass(kind, _TEMPORARY) and not issubclass(kind, _LASTING)
        advice = "" if isinstance(error, errors.HfHubHTTPError) else host.advice
        return Failure(_sentence(told) + advice, is_temporary)
    return None


def refuses_token(error: BaseException) -> bool:
    """Return whether the hub answered 401 to a request that had an access token."""
    if not isinstance(error, errors.HfHubHTTPError) or isinstance(error, errors.GatedRepoError):
        return False
    response = error.response
    return response.status_code == 401 and "Authorization" in response.request.headers


def _request_of(error: BaseException) -> httpx2.Request | None:
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.request
    if isinstance(error, httpx2.HTTPError):
        with suppress(RuntimeError):  # It has none.
            return error.request
    return None


def _host_of(error: BaseException, hub_host: str) -> _Host:
    request = _request_of(error)
    name = error.host if isinstance(error, OtherContentError) else request and request.url.host
    return _Host(name or hub_host, not name or name == hub_host)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _refused(response: httpx2.Response, hub_id: str, host: _Host) -> Failure:
    status = response.status_code
    subject = _sentence(str(host))
    if status == 429:
        # An HTTP date is allowed too, but the hub sends seconds.
        retry_after = response.headers.get("Retry-After", "").strip()
        wait_s = float(retry_after) if retry_after.isdecimal() else None
        problem = f"{subject} received too many requests from this network (429)."
        if wait_s is not None and wait_s > LONGEST_WAIT_S:
            wait = f"{wait_s:.0f} s" if wait_s < 120 else f"{wait_s / 60:.0f} minutes"
            return Failure(f"{problem} Try again in {wait}.")
        return Failure(f"{problem} Try again in some minutes.", True, wait_s)
    if status == 408 or (status >= 500 and status != _LOGIN_STATUS):
        return Failure(f"{subject} has a problem ({status}). Try again in some minutes.", True)
    if not host.is_hub and status not in (407, 416, _LOGIN_STATUS):
        return Failure(f"{subject} refused with status {status}.{host.advice}")
    message = _OF_STATUS.get(status, f"The hub refused {{hub_id}} with status {status}.")
    return Failure(message.format(hub_id=hub_id))


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
