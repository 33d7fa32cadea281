"""Checks of every request (host, origin, key), and the headers of every answer."""

from __future__ import annotations

import hmac
import re
import socket
from collections.abc import Sequence
from typing import Final

from flask import Flask, Request, Response, request

from vlm.option_types import PRIVATE_SUFFIXES
from vlm.settings import Settings, read_key
from web.errors import (
    IGNORED_HEADER,
    MODEL_HEADER,
    ClientKeyError,
    ForbiddenError,
)
from web.paths import family_of
from web.proxy import PROXY_HOST, address_of

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# `Cache-Control` of the page and what it polls. Browsers do not keep a page for "Back", with its
# captions, if these are `no-store`.
REVALIDATED: Final = "no-cache"

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
# What only this machine may use, unless --trust-network says otherwise.
_CONTROL_PATHS: Final = ("/api/models/", "/api/timeline", "/metrics")
_FORWARDING_HEADERS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
_HOST_HEADER: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")

_PREFLIGHT_AGE_S: Final = 600
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9-]+( ?, ?[A-Za-z0-9-]+)*")
HEADER_NAMES_MAX_CHARS: Final = 2000


def install_access(app: Flask, settings: Settings) -> None:
    """Check every request of `app`, and set headers on every answer.

    Raises SettingsError if the file of the client key, which `settings` may name, has no key.
    """
    access = Access(settings)

    @app.before_request
    def check_access() -> Response | None:
        return access.check(request)

    @app.after_request
    def set_headers(response: Response) -> Response:
        access.set_headers(request, response)
        return response


class Access:
    """All checks of a request before its route runs. Their order matters; `check` shows it."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = HostPolicy(settings.host, settings.allow_host)
        self._cors = CorsPolicy(settings.allow_origin)
        self._settings = settings
        frames = " ".join(settings.allow_frame) or "'none'"
        self._policy = f"{CONTENT_SECURITY_POLICY}; frame-ancestors {frames}"
        file = settings.client_key_file
        self._key = None if file is None else read_key(file).encode()

    def check(self, request: Request) -> Response | None:
        """Return None to let `request` pass, or the answer to a CORS preflight.

        Raises ForbiddenError or ClientKeyError.
        """
        # First, since after DNS rebinding the other headers look like those of our own page.
        self._check_host(request)
        if self._cors.allows(request):
            # A browser sends no key with a preflight, so the key is checked after it.
            preflight = self._cors.preflight(request)
            if preflight is not None:
                return preflight
        else:
            self._check_site(request)
        self._check_key(request)
        self._check_control(request)
        return None

    def set_headers(self, request: Request, response: Response) -> None:
        """Add the security headers, those of CORS, and `no-store` if the route sets no caching."""
        response.headers.update(HEADERS)
        response.headers["Content-Security-Policy"] = self._policy
        self._cors.set_headers(request, response)
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"

    def _check_host(self, request: Request) -> None:
        host = request.headers.get("Host", "")
        # A page after DNS rebinding could send a forwarded host of its choice, but not the `Host`.
        seen_by_proxy = request.environ.get(PROXY_HOST, host)
        if not (self._hosts.allows(host) and self._hosts.allows(seen_by_proxy)):
            raise ForbiddenError(
                "This server does not answer to that host name. Open it as http://localhost with "
                "its port, or by the address it was started with (--host), or allow the name "
                "(--allow-host)."
            )

    def _check_site(self, request: Request) -> None:
        """Refuse requests of other sites' pages, by Origin and by Fetch Metadata.

        Another port of the same host is another site too. A link on another site may open the page
        itself. Programs send neither header.
        """
        origin = request.headers.get("Origin")
        is_foreign = origin is not None and not _is_same_origin(
            origin, request.headers.get("Host", "")
        )
        site = request.headers.get("Sec-Fetch-Site", "none")
        if is_foreign or (site not in ("same-origin", "none") and request.endpoint != "index"):
            raise ForbiddenError("Pages of other sites may not use this server.")

    def _check_key(self, request: Request) -> None:
        """Refuse requests to other programs' APIs without the client key, if there is one."""
        if self._key is None or family_of(request.path) == "own":
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        # Compare in constant time, so that timing does not reveal how much of a guess is right.
        is_right = hmac.compare_digest(key.strip().encode(), self._key)
        if scheme.lower() != "bearer" or not is_right:
            raise ClientKeyError(
                "This server needs its key: send it as `Authorization: Bearer KEY`."
            )

    def _check_control(self, request: Request) -> None:
        """Refuse what has no password to other machines: models, metrics, what was kept."""
        if request.path.startswith(_CONTROL_PATHS) and not may_control(self._settings, request):
            raise ForbiddenError(
                "Only the machine that runs this server may change the model, see the timeline and "
                "read the metrics. Start it with --trust-network to allow it to others."
            )


def may_control(settings: Settings, request: Request) -> bool:
    """Return whether the sender of `request` may change the model and read metrics."""
    return settings.trust_network or _is_from_this_machine(request)


def _is_from_this_machine(request: Request) -> bool:
    """Return whether all who sent or forwarded `request` are on this machine.

    Behind a proxy that says for nobody whom it forwards, the sender is a stranger, whether the
    proxy is trusted or not.
    """
    senders = [request.remote_addr or ""]
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        senders += request.headers.get("X-Forwarded-For", "").split(",")
    addresses = [address_of(each.strip()) for each in senders]
    return all(each is not None and each.is_loopback for each in addresses)


def is_same_machine(request: Request) -> bool:
    """Return whether the browser that sent `request` runs on this machine, as far as can be told.

    A machine that opens one of its own addresses connects from that address. This only chooses
    words on the page: it gives no permission.
    """
    if _is_from_this_machine(request):
        return True
    is_forwarded = any(name in request.headers for name in _FORWARDING_HEADERS)
    sender = address_of(request.environ.get("REMOTE_ADDR", ""))
    # The server gives the address that the connection came to.
    receiver = address_of(request.environ.get("SERVER_NAME", ""))
    return not is_forwarded and sender is not None and sender == receiver


class HostPolicy:
    """Decides which `Host` headers are names of this server.

    DNS rebinding needs a name that an attacker owns, so only the name is checked and any port is
    allowed: an ssh tunnel or a container may show this server on another one. A server bound to
    every address also accepts any IP address (none can be rebound), this machine's own name, and
    names under the suffixes that nobody on the internet can own.
    """

    def __init__(self, bound_host: str, allowed: Sequence[str] = ()) -> None:
        """`allowed`: further names, in lower case; one that begins with a dot is a suffix."""
        self._any_address = bound_host in _WILDCARDS
        own = (
            {socket.gethostname(), f"{socket.gethostname()}.local"} if self._any_address else set()
        )
        bound = f"[{bound_host}]" if ":" in bound_host else bound_host
        self._names = _LOOPBACK_NAMES | {name.lower() for name in {bound, *own, *allowed}}
        suffixes = [name for name in allowed if name.startswith(".")]
        self._suffixes = (*suffixes, *(PRIVATE_SUFFIXES if self._any_address else ()))

    def allows(self, host_header: str) -> bool:
        """Return whether `host_header` (`name` or `name:port`) names this server."""
        match = _HOST_HEADER.fullmatch(host_header.lower())
        if match is None:
            return False
        name = match["name"]
        is_under = name.endswith(self._suffixes) and ".." not in name and not name.startswith(".")
        is_address = self._any_address and address_of(name.strip("[]")) is not None
        return name in self._names or is_under or is_address


def _is_same_origin(origin: str, host_header: str) -> bool:
    scheme, _, origin_host = origin.partition("://")
    if scheme not in _DEFAULT_PORTS:
        return False
    # Browsers leave out the usual port; some proxies add it to the host.
    host = host_header.lower().removesuffix(_DEFAULT_PORTS[scheme])
    return origin_host.lower() == host


class CorsPolicy:
    """Lets pages of the allowed origins use other programs' APIs and `/openapi.json` only."""

    def __init__(self, origins: Sequence[str]) -> None:
        """`origins` as browsers write them: `https://example.org`."""
        self._origins = frozenset(origins)

    def allows(self, request: Request) -> bool:
        """Return whether `request` comes from an allowed origin and goes to an open path."""
        return _is_open(request.path) and request.headers.get("Origin") in self._origins

    def preflight(self, request: Request) -> Response | None:
        """Return the answer to `request` if it is a CORS preflight, else None."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        # Clients send many harmless headers of their own; the origin is what protects the server.
        names = request.headers.get("Access-Control-Request-Headers", "")
        if len(names) <= HEADER_NAMES_MAX_CHARS and _HEADER_NAMES.fullmatch(names):
            response.headers["Access-Control-Allow-Headers"] = names
        response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_AGE_S)
        return response

    def set_headers(self, request: Request, response: Response) -> None:
        """Allow the page that sent `request` to read `response`, if its origin is allowed."""
        if not self._origins or not _is_open(request.path):
            return
        response.vary.add("Origin")
        if self.allows(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = (
                f"Retry-After, {MODEL_HEADER}, {IGNORED_HEADER}"
            )


def _is_open(path: str) -> bool:
    return family_of(path) != "own" or path == "/openapi.json"
