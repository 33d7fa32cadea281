"""A request as the ASGI server gives it: its body, read within bounds, and its WSGI environ."""

from __future__ import annotations

import io
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from web.connections import (
    BODY_TOO_LONG_MESSAGE,
    HEAD_TOO_LONG_MESSAGE,
    MAX_BODY_BYTES,
    MAX_FRAMING_BYTES,
    MAX_HEADER_BYTES,
    SMALL_CHUNKS_MESSAGE,
    Connection,
)
from web.errors import body_too_large_code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from _typeshed.wsgi import WSGIEnvironment

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]

_PART_BYTES: Final = 64 * 2**10


class Body(io.RawIOBase):
    """The whole body of a request in memory, which is freed as it is read."""

    def __init__(self) -> None:
        self.size = 0
        """All bytes that were added."""
        self._parts: deque[bytearray] = deque()

    def add(self, data: bytes) -> None:
        """Add `data` at the end."""
        self.size += len(data)
        if self._parts and len(self._parts[-1]) < _PART_BYTES:
            # A client may send single bytes, each of which would be an object.
            self._parts[-1] += data
        else:
            self._parts.append(bytearray(data))

    def clear(self) -> None:
        """Free what has not been read."""
        self._parts.clear()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._parts:
            return 0
        first = self._parts[0]
        count = min(len(buffer), len(first))
        buffer[:count] = first[:count]
        del first[:count]
        if not first:
            self._parts.popleft()
        return count


class Refusal(Exception):
    """A refusal by the server itself, with status, code and message."""


async def read_body(
    scope: Message, path: str, receive: Receive, connection: Connection
) -> Body | None:
    """Return the whole body, None if the client disconnected; raise Refusal beyond the bounds."""
    fields = dict(scope["headers"])
    query = scope["query_string"]
    # Those of the request line, the headers and the empty line after them.
    head_bytes = len(scope["method"]) + len(scope["raw_path"]) + len("  HTTP/1.1\r\n\r\n")
    head_bytes += len(b"?" + query) if query else 0
    head_bytes += sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    if head_bytes > MAX_HEADER_BYTES:
        raise Refusal(431, "bad_request", HEAD_TOO_LONG_MESSAGE)
    content_type = fields.get(b"content-type", b"").decode("latin-1")
    too_large = Refusal(413, body_too_large_code(path, content_type), BODY_TOO_LONG_MESSAGE)
    if int(fields.get(b"content-length", 0)) > MAX_BODY_BYTES:
        raise too_large
    body = Body()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        connection.count_bytes(len(message["body"]))
        body.add(message["body"])
        if body.size > MAX_BODY_BYTES:
            raise too_large
        if connection.received_bytes > MAX_FRAMING_BYTES + 2 * body.size:
            raise Refusal(400, "bad_request", SMALL_CHUNKS_MESSAGE)
        if not message["more_body"]:
            return body


def target_of(scope: Message) -> tuple[str, str | None]:
    """Return the WSGI path, and the host if the request target is a whole URL."""
    raw, host = scope["raw_path"].decode("ascii"), None
    scheme, separator, rest = raw.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        host, _, path = rest.partition("/")
        raw = f"/{path}"
    return unquote_to_bytes(raw).decode("latin-1"), host


def make_environ(scope: Message, path: str, host: str | None, body: Body) -> WSGIEnvironment:
    """Return the WSGI environ (PEP 3333) of a request with its whole body in memory."""
    server, client = scope["server"] or ("", 0), scope["client"] or ("", 0)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BufferedReader(body, _PART_BYTES),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        # The environ cannot distinguish it from the same name with "-", which a proxy may set.
        if "_" in name:
            continue
        if name in ("content-length", "transfer-encoding"):
            environ["CONTENT_LENGTH"] = str(body.size)
            continue
        key = "CONTENT_TYPE" if name == "content-type" else f"HTTP_{name.upper().replace('-', '_')}"
        joint = "; " if name == "cookie" else ", "
        environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    if host is not None:
        environ["HTTP_HOST"] = host
    return environ
