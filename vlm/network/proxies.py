"""The proxy of each request, from the environment or the system, and what is wrong with it."""

from __future__ import annotations

import ipaddress
import os
import ssl
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import httpx2
from socksio.exceptions import SOCKSError

from vlm.errors import SightlineError
from vlm.network.certificates import no_certificates, trusted_certificates

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_LOGIN_STATUS: Final = 407
# What desktops write for a SOCKS proxy.
_ALIASES: Final = {"socks": "socks5"}
_MAX_SCHEME_CHARS: Final = 20
# The extension of a request in which the transport leaves its Proxy.
_EXTENSION: Final = "sightline.proxy"


class ProxySettingError(SightlineError):
    """A variable names a proxy that cannot be used; the message names the variable."""

    code = "bad_proxy"


class NotSocksError(httpx2.ProxyError):
    """The proxy answered something other than SOCKS5."""


@dataclass(frozen=True)
class Proxy:
    """A proxy, and where it is set."""

    source: str
    """The name of the variable, or words for the system's settings."""
    url: str
    """With a scheme of `_SCHEMES`; may hold a password."""

    @property
    def scheme(self) -> str:
        """The scheme of its URL."""
        return self.url.partition("://")[0]

    def for_httpx2(self, context: ssl.SSLContext) -> httpx2.Proxy:
        """Return it for a transport; `context` has the certificates that are trusted."""
        return httpx2.Proxy(self.url, ssl_context=context if self.scheme == "https" else None)


class EnvironmentTransport(httpx2.BaseTransport):
    """Sends each request directly, or through the proxy that is set for it. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transports: dict[tuple[Proxy | None, bool], httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; raise ProxySettingError, CertificateFileError or httpx2's errors."""
        proxy = proxy_for(request.url)
        request.extensions = {**request.extensions, _EXTENSION: proxy}
        is_tls = request.url.scheme == "https" or (proxy is not None and proxy.scheme == "https")
        with self._lock:
            transport = self._transports.get((proxy, is_tls))
            if transport is None:
                context = trusted_certificates() if is_tls else no_certificates()
                transport = httpx2.HTTPTransport(
                    verify=context, proxy=None if proxy is None else proxy.for_httpx2(context)
                )
                self._transports[proxy, is_tls] = transport
        try:
            return transport.handle_request(request)
        except (SOCKSError, AssertionError, ValueError) as error:
            # httpx2 lets the SOCKS package's own errors pass.
            if proxy is None or not proxy.scheme.startswith("socks"):
                raise
            raise NotSocksError(type(error).__name__) from error

    def close(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            transport.close()


def proxy_for(url: httpx2.URL) -> Proxy | None:
    """Return the proxy for `url`, None if it is reached directly; raise ProxySettingError."""
    found = urllib.request.getproxies()
    kind = next((each for each in (url.scheme, "all") if found.get(each)), None)
    if kind is None or _is_exempt(url.host, url.port, found.get("no", "")):
        return None
    source = _source(kind)
    return Proxy(source, _usable(found[kind].strip(), source))


def proxy_of(request: httpx2.Request | None) -> Proxy | None:
    """Return the proxy through which `request` went, None if it went directly."""
    proxy = None if request is None else request.extensions.get(_EXTENSION)
    return proxy if isinstance(proxy, Proxy) else None


def proxy_words(error: BaseException, proxy: Proxy) -> str | None:
    """Return what is wrong with `proxy` if `error` is its fault, None if it is not.

    The words are for people, hold no address, and end without a full stop.
    """
    subject = f"the proxy in {proxy.source}"
    if isinstance(error, NotSocksError):
        return f"{subject} does not speak SOCKS5. The address of an ordinary one begins with http"
    response = getattr(error, "response", None)
    if response is not None and response.status_code == _LOGIN_STATUS:
        return _refusal_words(str(_LOGIN_STATUS), subject, proxy.source)
    if isinstance(error, httpx2.ProxyError):
        return _refusal_words(str(error), subject, proxy.source)
    if not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            if proxy.scheme != "https" or isinstance(cause, ssl.SSLCertVerificationError):
                # The server behind the proxy.
                return None
            return f"{subject} does not speak TLS. Begin its address with http instead of https"
        cause = cause.__cause__ or cause.__context__
    return f"{subject} cannot be reached. Check {proxy.source}, and that the proxy runs"


def _refusal_words(reason: str, subject: str, source: str) -> str:
    status = reason.partition(" ")[0]
    login_words = (str(_LOGIN_STATUS), "username", "authentication", "acceptable methods")
    if any(word in reason.lower() for word in login_words):
        return f"{subject} demands a login. Write NAME:PASSWORD@ before the host in {source}"
    if status in ("403", "405") or "ruleset" in reason:
        return f"{subject} does not allow this host. Its administrator can, or set NO_PROXY"
    if status in ("400", "501"):
        return f"{subject} does not serve https. Check {source}"
    return f"{subject} cannot reach the host. Check the network behind it, then try again"


def _is_exempt(host: str, port: int | None, exempt: str) -> bool:
    """Return whether NO_PROXY (`exempt`) or the system's settings exempt `host`."""
    if urllib.request.proxy_bypass(host if port is None else f"{host}:{port}"):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        for each in exempt.split(","):
            with suppress(ValueError):
                if address in ipaddress.ip_network(each.strip(), strict=False):
                    return True
    return False


def _source(kind: str) -> str:
    names = [
        name for name, value in os.environ.items() if name.lower() == f"{kind}_proxy" and value
    ]
    # As in Python's own reading, lower case wins.
    return min(names, key=str.isupper) if names else "this machine's network settings"


def _usable(value: str, source: str) -> str:
    """Return the URL of the proxy `value`; raise ProxySettingError, which does not quote it."""
    url = value if "://" in value else f"http://{value}"
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in _SCHEMES:
        kind = scheme if scheme.isalnum() and len(scheme) <= _MAX_SCHEME_CHARS else "unknown"
        raise ProxySettingError(
            f"The proxy in {source} is of the kind {kind}, which Sightline cannot use. Its address "
            "must begin with http, https or socks5. Correct it, or unset it."
        )
    try:
        parsed = httpx2.Proxy(f"{scheme}://{rest}").url
        is_port = parsed.port is None or 0 < parsed.port < 65536
        is_valid = bool(parsed.host) and " " not in rest and is_port
    except (ValueError, httpx2.InvalidURL):
        is_valid = False
    if not is_valid:
        raise ProxySettingError(
            f"The text in {source} is not the address of a proxy, such as HOST:PORT. Correct it, "
            "or unset it. In a login, write @ as %40, : as %3A, / as %2F and # as %23."
        )
    return f"{scheme}://{rest}"
