"""Who may talk to this server, and what its pages may do: Host and Origin checks, headers."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Final

from flask import Flask, Request, Response, request

from vlm.settings import Settings, read_key
from web.errors import FieldError, ForbiddenError, is_openai_path

CONTENT_SECURITY_POLICY = "; ".join(
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
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_WILDCARDS = frozenset({"0.0.0.0", "::"})
_HOST_HEADER = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")


class HostPolicy:
    """Which `Host` headers are ours.

    DNS rebinding needs a name that an attacker owns, so the name decides and any port will do: an
    ssh tunnel or a container may well show this server on another one. A server bound to every
    address also answers to any IP address (none can be rebound) and to this machine's own name.
    """

    def __init__(self, bound_host: str) -> None:
        self._any_address = bound_host in _WILDCARDS
        own = (
            {socket.gethostname(), f"{socket.gethostname()}.local"} if self._any_address else set()
        )
        bound = f"[{bound_host}]" if ":" in bound_host else bound_host
        self._names = _LOOPBACK_NAMES | {name.lower() for name in {bound, *own}}

    def allows(self, host_header: str) -> bool:
        """Whether a request with this `Host` header (`name` or `name:port`) is meant for us."""
        match = _HOST_HEADER.fullmatch(host_header.lower())
        if match is None:
            return False
        return match["name"] in self._names or (self._any_address and _is_address(match["name"]))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_same_origin(origin: str, host_header: str) -> bool:
    scheme, _, origin_host = origin.partition("://")
    return scheme in ("http", "https") and origin_host.lower() == host_header.lower()


def install_safety(app: Flask, settings: Settings) -> None:
    """Refuse what another site's page could send, and set the headers on every answer of `app`.

    Pages of the origins that `settings` allow may call /v1, and nothing beside it.
    """
    policy = HostPolicy(settings.host)
    cross_origin = CrossOrigin(settings.allow_origin)

    @app.before_request
    def refuse_other_sites() -> Response | None:
        host = request.headers.get("Host", "")
        if not policy.allows(host):
            raise ForbiddenError(
                "This server does not answer to that host name. Open it as http://localhost with "
                "its port, or by the address it was started with (--host)."
            )
        if cross_origin.allows(request):
            return cross_origin.preflight(request)
        origin = request.headers.get("Origin")
        if origin is not None and not _is_same_origin(origin, host):
            raise ForbiddenError("Pages of other sites may not use this server.")
        # A link on another site may open the page itself; all else must come from our own page or,
        # without this header, from a program. Another port of this host is another site too.
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in ("same-origin", "none") and request.endpoint != "pages.index":
            raise ForbiddenError("Pages of other sites may not use this server.")
        return None

    @app.after_request
    def set_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        cross_origin.set_headers(request, response)
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response


_PREFLIGHT_AGE_S: Final = 600
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9-]+( ?, ?[A-Za-z0-9-]+)*")
_HEADER_NAMES_MAX_CHARS: Final = 2000


class CrossOrigin:
    """Answers browsers that ask whether a page of another site may talk to this server."""

    def __init__(self, origins: Sequence[str]) -> None:
        """`origins` as browsers write them: `https://example.org`."""
        self._origins = frozenset(origins)

    def allows(self, request: Request) -> bool:
        """Whether `request` is one that a page of one of the origins may make."""
        return _is_open(request.path) and request.headers.get("Origin") in self._origins

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser's question before such a request; None where it is none."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        # A client's own headers are many and harmless; what counts is the origin.
        asked = request.headers.get("Access-Control-Request-Headers", "")
        if len(asked) <= _HEADER_NAMES_MAX_CHARS and _HEADER_NAMES.fullmatch(asked):
            response.headers["Access-Control-Allow-Headers"] = asked
        response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_AGE_S)
        return response

    def set_headers(self, request: Request, response: Response) -> None:
        """Let the page that made `request` read `response`, where it may."""
        if not self._origins or not _is_open(request.path):
            return
        response.vary.add("Origin")
        if self.allows(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"


def _is_open(path: str) -> bool:
    return is_openai_path(path) or path == "/openapi.json"


def install_client_key(app: Flask, settings: Settings) -> None:
    """Ask whoever calls /v1 for the key that `settings` name a file of, where they do.

    Raises SettingsError where that file holds no key.
    """
    if settings.client_key_file is None:
        return
    key = read_key(settings.client_key_file).encode()

    @app.before_request
    def refuse_without_key() -> None:
        if not is_openai_path(request.path):
            return
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        # Compared in a time that does not tell how much of it is right.
        is_right = hmac.compare_digest(shown.strip().encode(), key)
        if scheme.lower() != "bearer" or not is_right:
            raise FieldError(
                "This server asks for its key: send it as `Authorization: Bearer KEY`.",
                None,
                "invalid_api_key",
                status=401,
            )
