"""Other sites whose pages may call /v1: those that `--allow-origin` names, and nothing else here.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from flask import Request, Response

from routes.openai_errors import is_openai_path

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
