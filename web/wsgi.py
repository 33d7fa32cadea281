"""A WSGI application under an ASGI server, with one thread for each request that is answered."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from web.connections import CONNECTION, Connection, refusal
from web.errors import INTERNAL_MESSAGE, InternalError
from web.wsgi_request import Body, Refusal, make_environ, read_body, target_of

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
        path, host = target_of(scope)
        try:
            body = await read_body(scope, path, receive, connection)
        except Refusal as refused:
            connection.release_bytes()
            for message in _refusal_messages(path, *refused.args):
                await send(message)
            return
        if body is None:
            return
        connection.begin_answer()
        answer = _Answer(asyncio.get_running_loop(), connection, path)
        environ = make_environ(scope, path, host, body) | {ON_HANG_UP: answer.hang_up.call}
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
