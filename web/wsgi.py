"""A WSGI application under an ASGI server, with one thread for each request that is answered."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from web.connections import (
    BODY_TOO_LONG_MESSAGE,
    CONNECTION,
    HEAD_TOO_LONG_MESSAGE,
    MAX_BODY_BYTES,
    MAX_FRAMING_BYTES,
    MAX_HEADER_BYTES,
    SMALL_CHUNKS_MESSAGE,
    Connection,
    refusal,
)
from web.errors import INTERNAL_MESSAGE, InternalError, body_too_large_code

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ExcInfo = (
        tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None
    )

log = logging.getLogger("sightline")

# Key in the WSGI environ: a function that takes a callback for when the client disconnects.
ON_HANG_UP: Final = "sightline.on_hang_up"
# Bytes of an answer that may wait for its client to read. No answer is as large; the client of one
# that is gets cut, so that no thread waits for it.
MAX_UNREAD_BYTES: Final = 8 * 2**20
_PART_BYTES: Final = 64 * 2**10
LAST_MESSAGE: Final = {"type": "http.response.body", "body": b"", "more_body": False}


class WsgiFront:
    """The ASGI application over a WSGI one."""

    def __init__(self, app: WSGIApplication, threads: Executor, reading: Executor) -> None:
        """`reading` runs GET and HEAD requests, `threads` all others."""
        self._app = app
        self._threads = threads
        self._reading = reading

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        connection: Connection = scope["state"][CONNECTION]
        connection.end_head()
        path, host = _target(scope)
        try:
            body = await _read_body(scope, path, receive, connection)
        except _Refusal as refused:
            connection.release_bytes()
            for message in _refusal_messages(path, *refused.args):
                await send(message)
            return
        if body is None:
            return
        connection.begin_answer()
        answer = _Answer(asyncio.get_running_loop(), connection, path)
        environ = _environ(scope, path, host, body) | {ON_HANG_UP: answer.hang_up.call}
        watching = asyncio.create_task(answer.watch_disconnect(receive))
        threads = self._reading if scope["method"] in ("GET", "HEAD") else self._threads
        answering = asyncio.get_running_loop().run_in_executor(
            threads, answer.run, self._app, environ, body
        )
        try:
            await answer.send_all(send)
            await answering
        except Exception as error:
            # The answer differs from its own head, such as in its Content-Length.
            log.error("The answer to %s cannot be sent", path, exc_info=error)
            connection.reset()
        finally:
            watching.cancel()
            answer.cancel()
            connection.end_answer()


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


class HangUp:
    """The disconnect of one request's client, and the callbacks for it. Any thread may use it."""

    def __init__(self) -> None:
        self.has_happened = False
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def call(self, callback: Callable[[], object]) -> None:
        """Call `callback` once when the client disconnects, at once if it has."""
        with self._lock:
            if not self.has_happened:
                self._callbacks.append(callback)
                return
        callback()

    def happen(self) -> None:
        """Run the callbacks."""
        with self._lock:
            self.has_happened = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


def watch_client(environ: WSGIEnvironment) -> Callable[[], bool]:
    """Return a function that says whether the client of the request has disconnected."""
    left = threading.Event()
    # Absent if the application runs without the server, as in Flask's test client.
    on_hang_up = environ.get(ON_HANG_UP)
    if on_hang_up is not None:
        on_hang_up(left.set)
    return left.is_set


class _ClientGoneError(Exception):
    """The client has disconnected; ends the application's answer."""


class _Refusal(Exception):
    """A refusal by the server itself, with status, code and message."""


class _Answer:
    """One answer, on its way from the application's thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection, path: str) -> None:
        self.hang_up = HangUp()
        self._loop = loop
        self._connection = connection
        self._path = path
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        # The first belongs to the application's thread, the second to the event loop.
        self._written_bytes = 0
        self._sent_bytes = 0
        self._is_complete = False
        self._head: Message | None = None
        self._is_begun = False
        """Whether the head was handed over, so that the status can no longer change."""
        self._whole: list[bytes] | None = None
        """The pieces of an answer of known length, handed over at its end: each hand-over wakes the
        event loop. None for a stream."""

    # -- in the event loop --

    async def send_all(self, send: Send) -> None:
        """Send the messages of the application's thread, to the end."""
        while (message := await self._messages.get()) is not None:
            self._is_complete = not message.get("more_body", True)
            await send(message)
            self._sent_bytes += len(message.get("body", b""))
        if not self._is_complete:
            self._connection.reset()

    def _put(self, *messages: Message | None) -> None:
        for message in messages:
            self._messages.put_nowait(message)

    async def watch_disconnect(self, receive: Receive) -> None:
        """Wait for the client to disconnect, then cancel the answer."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.cancel()

    def cancel(self) -> None:
        """Wake the application's thread to end its answer, unless the answer is complete."""
        if not self._is_complete:
            self.hang_up.happen()

    # -- in the application's thread --

    def run(self, app: WSGIApplication, environ: WSGIEnvironment, body: Body) -> None:
        """Run the application and hand over its answer; 500 if it fails before the first piece."""
        ending: list[Message | None] = [None]
        try:
            if body.size:
                self._post(self._connection.release_bytes)
            pieces = app(environ, self._start_response)
            try:
                for piece in pieces:
                    if piece:
                        self._write(piece)
                        # Free what the application left of the body while the answer streams.
                        body.clear()
            finally:
                close = getattr(pieces, "close", None)
                if close is not None:
                    close()
            last = {**LAST_MESSAGE, "body": b"".join(self._whole or ())}
            ending = [*self._unsent_head(), last, None]
        except _ClientGoneError:
            pass
        except Exception as error:
            log.error("Unexpected error in %s", self._path, exc_info=error)
            if not self._is_begun:
                failed = _refusal_messages(self._path, 500, InternalError.code, INTERNAL_MESSAGE)
                ending = [*failed, None]
        finally:
            # The loop may have ended before this thread.
            with suppress(_ClientGoneError):
                self._hand_over(*ending)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None and exc_info[1] is not None and self._is_begun:
            raise exc_info[1].with_traceback(exc_info[2])
        self._head = _head(int(status[:3]), headers)
        has_length = any(name.lower() == "content-length" for name, _ in headers)
        self._whole = [] if has_length else None
        return self._write

    def _write(self, piece: bytes) -> None:
        if self.hang_up.has_happened:
            raise _ClientGoneError
        self._written_bytes += len(piece)
        if self._written_bytes - self._sent_bytes > MAX_UNREAD_BYTES:
            self._post(self._connection.reset)
            raise _ClientGoneError
        if self._whole is not None:
            self._whole.append(piece)
            return
        self._hand_over(
            *self._unsent_head(), {"type": "http.response.body", "body": piece, "more_body": True}
        )

    def _unsent_head(self) -> Iterable[Message]:
        if self._is_begun:
            return ()
        if self._head is None:
            raise RuntimeError("The application did not call start_response.")
        self._is_begun = True
        return (self._head,)

    def _hand_over(self, *messages: Message | None) -> None:
        self._post(self._put, *messages)

    def _post(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            raise _ClientGoneError from None


def _head(status: int, headers: Iterable[tuple[str, str]]) -> Message:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}


def _refusal_messages(path: str, status: int, code: str, message: str) -> Iterable[Message]:
    headers, body = refusal(path, status, code, message)
    yield _head(status, headers)
    yield {"type": "http.response.body", "body": body, "more_body": False}


async def _read_body(
    scope: Message, path: str, receive: Receive, connection: Connection
) -> Body | None:
    """Return the whole body, None if the client disconnected; raise _Refusal beyond the bounds."""
    fields = dict(scope["headers"])
    query = scope["query_string"]
    # Those of the request line, the headers and the empty line after them.
    head_bytes = len(scope["method"]) + len(scope["raw_path"]) + len("  HTTP/1.1\r\n\r\n")
    head_bytes += len(b"?" + query) if query else 0
    head_bytes += sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    if head_bytes > MAX_HEADER_BYTES:
        raise _Refusal(431, "bad_request", HEAD_TOO_LONG_MESSAGE)
    content_type = fields.get(b"content-type", b"").decode("latin-1")
    too_large = _Refusal(413, body_too_large_code(path, content_type), BODY_TOO_LONG_MESSAGE)
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
            raise _Refusal(400, "bad_request", SMALL_CHUNKS_MESSAGE)
        if not message["more_body"]:
            return body


def _target(scope: Message) -> tuple[str, str | None]:
    """Return the WSGI path, and the host if the request target is a whole URL."""
    raw, host = scope["raw_path"].decode("ascii"), None
    scheme, separator, rest = raw.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        host, _, path = rest.partition("/")
        raw = f"/{path}"
    return unquote_to_bytes(raw).decode("latin-1"), host


def _environ(scope: Message, path: str, host: str | None, body: Body) -> WSGIEnvironment:
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
