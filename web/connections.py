"""The open connections of the web server: time limits, shared bounds, and refusals in JSON.

uvicorn does not limit requests that never become complete. So each connection has a protocol object
of our own, which holds uvicorn's and forwards all events to it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import sys
from contextlib import suppress
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.errors import error_body_at, too_many_bytes
from web.handshake import Handshake

# Twice the largest caption request. A refused body is received up to here, so that the client can
# read the refusal; beyond it the connection is cut.
MAX_BODY_BYTES: Final = 32 * 2**20
MAX_HEADER_BYTES: Final = 32 * 2**10
# Of a body, how much more than its own size its head and the lengths of its chunks may take. Each
# chunk costs the event loop 8 microseconds, however small it is.
MAX_FRAMING_BYTES: Final = 256 * 2**10
# Of all bodies together that are incomplete or wait for a thread.
MAX_UNFINISHED_BYTES = 256 * 2**20
IDLE_CONNECTION_S = 30
# From the first byte of a request's head to its last.
HEAD_DEADLINE_S = 30
# From the first byte of a request to the last: 16 MiB at 1.2 Mbit/s.
REQUEST_DEADLINE_S = 120
# A client that reads nothing of its answer for this long is cut.
UNREAD_ANSWER_S = 60
# Of an answer, in the system's memory: left to itself it takes megabytes for each client that reads
# nothing, and the answers for them are made. Linux doubles it.
SEND_BUFFER_BYTES = 128 * 2**10
# Maximum silence of a client that was refused before its request was complete.
LINGER_S = 5
# Key of the request's connection in the ASGI scope's `state`.
CONNECTION: Final = "connection"

HEAD_TOO_LONG_MESSAGE: Final = too_many_bytes(
    "The request's head, of address and headers,", MAX_HEADER_BYTES
)
BODY_TOO_LONG_MESSAGE: Final = too_many_bytes("The body, as it was sent,", MAX_BODY_BYTES)
SMALL_CHUNKS_MESSAGE: Final = "The body is sent in chunks that are too small. Send larger ones."
_REASONS: Final = {400: "Bad Request", 431: "Request Header Fields Too Large"}


def refusal(path: str, status: int, code: str, message: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of a refusal by the server, in the form of all errors."""
    body = json.dumps(error_body_at(path, code, message, status)).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    return headers, body


class Connections:
    """All open connections of one server. For its event loop only."""

    def __init__(self, limit: int, tls: ssl.SSLContext | None = None) -> None:
        self.limit = limit
        self._tls = tls
        self._open: set[Connection | Handshake] = set()
        self._unfinished_bytes = 0

    def protocol(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection | Handshake:
        """Return the protocol object of a new connection; uvicorn calls it like a class."""
        connection = Connection(self)
        state = {**app_state, CONNECTION: connection}
        connection.inner = H11Protocol(config, server_state, state, _loop)
        if self._tls is None:
            return connection
        connection.handshake = Handshake(connection, self._tls, self.add, self.discard)
        return connection.handshake

    def add(self, connection: Connection | Handshake) -> None:
        """Add a connection. When full, drop the oldest idle connection, never a busy one."""
        self._open.add(connection)
        if len(self._open) > self.limit:
            self._drop_oldest()

    def discard(self, connection: Connection | Handshake) -> None:
        """Remove a connection."""
        self._open.discard(connection)

    def count_bytes(self, change: int) -> None:
        """Count bytes of incomplete bodies; over the bound, drop the oldest incomplete request."""
        self._unfinished_bytes += change
        if change > 0 and self._unfinished_bytes > MAX_UNFINISHED_BYTES:
            self._drop_oldest(least_bytes=1)

    def drop_all(self, with_busy: bool) -> None:
        """Drop all connections; busy ones only `with_busy`."""
        for connection in list(self._open):
            if with_busy or not connection.is_busy:
                connection.drop()

    def _drop_oldest(self, least_bytes: int = 0) -> None:
        droppable = [
            each for each in self._open if not each.is_busy and each.unfinished_bytes >= least_bytes
        ]
        if droppable:
            min(droppable, key=lambda each: each.since_s).drop()


class Connection(asyncio.Protocol):
    """One connection: forwards events to uvicorn's protocol object and enforces the time limits."""

    inner: H11Protocol
    handshake: Handshake | None = None
    """TLS of this connection, which holds its place until the handshake is complete."""

    def __init__(self, connections: Connections) -> None:
        self.is_busy = False
        """Whether a complete request is being answered."""
        self.since_s = 0.0
        """Start of the idle time, or of the incomplete request."""
        self.unfinished_bytes = 0
        self.is_parsing = False
        """Whether uvicorn is parsing received bytes; if it writes meanwhile, it refuses them."""
        self.is_lost = False
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._is_receiving = False
        self._has_head = False
        """The head of the incomplete request is complete."""
        self._is_ahead = False
        """Whether bytes arrived behind the request that is being answered."""
        self._answers = 0
        self._last_s = 0.0
        self.received_bytes = 0
        """Bytes of the request that is received, its head and the lengths of chunks included."""
        self._lingering_bytes: int | None = None
        self._unread_since_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio's side --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # asyncio does this only if the listener names its protocol number, and `create_server`
        # leaves it 0. Otherwise each small piece of an answer waits for the acknowledgement of the
        # last one, which clients delay by 40 ms.
        opened = transport.get_extra_info("socket")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.since_s = self._last_s = self._loop.time()
        if self.handshake is not None:
            self._connections.discard(self.handshake)
        self._connections.add(self)
        self.inner.connection_made(_Wire(self, transport))
        self._check()

    def data_received(self, data: bytes) -> None:
        self._last_s = self._loop.time()
        if self._lingering_bytes is not None:
            self._lingering_bytes += len(data)
            if self._lingering_bytes > MAX_BODY_BYTES:
                self.drop()
            return
        if self.is_busy:
            self._is_ahead = True
        elif not self._is_receiving:
            self._is_receiving, self._has_head = True, False
            self.since_s, self.received_bytes = self._last_s, 0
            self._check()
        self.received_bytes += len(data)
        self.is_parsing = True
        try:
            self.inner.data_received(data)
        finally:
            self.is_parsing = False

    def eof_received(self) -> None:
        self.inner.eof_received()

    def pause_writing(self) -> None:
        self._unread_since_s = self._loop.time()
        self._check()
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self._unread_since_s = None
        self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self._forget()
        self.inner.connection_lost(error)

    # -- the WSGI front's side --

    def end_head(self) -> None:
        """Allow the time of a whole request, since its head is complete."""
        self._has_head = True

    def count_bytes(self, count: int) -> None:
        """Add `count` bytes of the request's body in memory."""
        self.unfinished_bytes += count
        self._connections.count_bytes(count)

    def release_bytes(self) -> None:
        """Stop counting the body: the application has it."""
        self._connections.count_bytes(-self.unfinished_bytes)
        self.unfinished_bytes = 0

    def begin_answer(self) -> None:
        """Mark the connection busy: the request is complete; only unread answers are limited."""
        self.is_busy, self._is_receiving = True, False
        self.received_bytes = 0
        self._answers += 1

    def end_answer(self) -> None:
        """Mark the connection idle, or receiving its next request: the answer is complete."""
        self._answers -= 1
        if self._answers:
            # The next request was there already and its answer began first.
            return
        self.is_busy, self._is_receiving, self._is_ahead = False, self._is_ahead, False
        self._has_head = False
        self.since_s = self._last_s = self._loop.time()
        self.release_bytes()
        self._check()

    def drop(self) -> None:
        """Close the connection at once."""
        self._forget()
        self._transport.abort()

    def reset(self) -> None:
        """Cut the connection, so that no client takes a partial answer for a complete one."""
        values = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        opened = self._transport.get_extra_info("socket")
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, values)
        self.drop()

    # -- uvicorn's side, by way of _Wire --

    def close(self) -> None:
        """Close the connection when all is sent.

        If its request is incomplete, the client may still be sending. Closing would reset the
        connection and lose the answer, so the rest is received for a while and dropped.
        """
        if not self._is_receiving:
            self._transport.close()
        elif self._lingering_bytes is None:
            self._lingering_bytes = 0
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._transport.resume_reading()
            self._check()

    def refuse_unreadable(self) -> None:
        """Refuse a request that uvicorn cannot parse."""
        is_too_long = self.received_bytes > MAX_HEADER_BYTES and not self.unfinished_bytes
        status = 431 if is_too_long else 400
        message = HEAD_TOO_LONG_MESSAGE if is_too_long else "The request is not valid HTTP."
        headers, body = refusal("", status, "bad_request", message)
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{n}: {v}" for n, v in headers)]
        self._transport.write("\r\n".join([*lines, "\r\n"]).encode() + body)

    # -- time limits --

    def _check(self) -> None:
        """Drop the connection if it is overdue, else check again when it would be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self._due_s()
        if due_s is None or self.is_lost:
            return
        if self._loop.time() >= due_s:
            self.drop()
        else:
            self._timer = self._loop.call_at(due_s, self._check)

    def _due_s(self) -> float | None:
        if self._unread_since_s is not None:
            return self._unread_since_s + UNREAD_ANSWER_S
        if self.is_busy:
            return None
        silence_s = IDLE_CONNECTION_S if self._lingering_bytes is None else LINGER_S
        silent_until_s = self._last_s + silence_s
        if self._is_receiving:
            deadline_s = REQUEST_DEADLINE_S if self._has_head else HEAD_DEADLINE_S
            return min(silent_until_s, self.since_s + deadline_s)
        return silent_until_s

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._connections.discard(self)
        self.release_bytes()


class _Wire(asyncio.Transport):
    """The transport of uvicorn's protocol object: refusals become JSON, and closing waits."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self._transport = transport
        self._is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        if self._connection.is_parsing:
            self._is_closing = True
            self._connection.refuse_unreadable()
            self._connection.close()
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        if not self._is_closing and not self._connection.is_lost:
            self._is_closing = True
            self._connection.close()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()
