"""Read what a trusted reverse proxy says of the request that it passes on.

Anyone can send `X-Forwarded-…` headers, so they count only from the addresses of `--behind-proxy`.
Werkzeug's ProxyFix reads them; this module decides whether it may, and handles path prefixes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Key of the environ: the `Host` header as the proxy sent it. It must name this server too.
PROXY_HOST: Final = "sightline.proxy_host"

_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class TrustedProxies:
    """A WSGI application around another one, for requests through the proxies of `networks`."""

    def __init__(self, app: WSGIApplication, networks: Sequence[str]) -> None:
        """`networks` as `ipaddress` reads them, such as `127.0.0.0/8`; none: trust nobody."""
        self._app = app
        self._fixed = ProxyFix(app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._is_trusted(environ.get("REMOTE_ADDR", "")):
            return self._app(environ, start_response)
        environ[PROXY_HOST] = environ.get("HTTP_HOST", "")
        prefix = _take_prefix(environ)
        if prefix:
            path = environ["PATH_INFO"]
            if path in ("", prefix):
                # The page's addresses are relative to the folder that it is in.
                start_response("308 Permanent Redirect", [("Location", f"{prefix}/")])
                return [b""]
            # Some proxies remove the prefix from the path, others leave it.
            environ["PATH_INFO"] = (
                path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
            )
        return self._fixed(environ, start_response)

    def _is_trusted(self, text: str) -> bool:
        address = address_of(text)
        return address is not None and any(address in network for network in self._networks)


def _take_prefix(environ: WSGIEnvironment) -> str:
    """Return the path prefix of the proxy, empty if none; leave it for ProxyFix."""
    # The second one is Home Assistant's.
    names = ("HTTP_X_FORWARDED_PREFIX", "HTTP_X_INGRESS_PATH")
    values: str = next((environ[name] for name in names if environ.get(name)), "")
    prefix = values.rpartition(",")[2].strip().rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        prefix = ""
    environ["HTTP_X_FORWARDED_PREFIX"] = prefix
    return prefix


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in `text`, as IPv4 if it is one written as IPv6; None if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address
