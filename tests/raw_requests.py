"""Requests over a raw socket, in pieces whose sizes a test sets."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from web_client import HANG_GUARD_S, read_events

# Pieces of so many bytes; 0: the whole body at once.
WAYS = [0, 1, 1000, 65_535, 65_536, "chunked"]
CHUNK_BYTES = 60_000
# Of a longer body all but its tail goes in pieces of 64 KiB: millions of pieces take minutes.
SHORT_BYTES, TAIL_BYTES = 200_000, 1000

CAPTIONS, RAW = "/api/captions?max_tokens=1", "application/octet-stream"


class Sent(NamedTuple):
    body: bytes
    content_type: str = RAW
    path: str = CAPTIONS


class Answer(NamedTuple):
    """`code` and `message` are those of an error, else empty."""

    status: int
    code: str
    message: str


def pieces_of(body: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Yield `body` in pieces of `piece_bytes` (0: one piece), a long one as for SHORT_BYTES."""
    start = 0
    if piece_bytes and piece_bytes < 65_000 and len(body) > SHORT_BYTES:
        start = len(body) - TAIL_BYTES
        yield from pieces_of(body[:start], 65_536)
    step = piece_bytes or len(body) or 1
    for at in range(start, len(body), step):
        yield body[at : at + step]


def chunks_of(body: bytes) -> Iterator[bytes]:
    """Yield `body` in the chunked transfer encoding."""
    for at in range(0, len(body), CHUNK_BYTES):
        chunk = body[at : at + CHUNK_BYTES]
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def ask(port: int, sent: Sent, way: int | str) -> Answer:
    """Send `sent` and return the answer, which may arrive before everything is sent."""
    is_chunked = way == "chunked"
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(sent.body)}"
    head = (
        f"POST {sent.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {sent.content_type}\r\n{length}\r\n\r\n"
    )
    pieces = chunks_of(sent.body) if isinstance(way, str) else pieces_of(sent.body, way)
    return ask_raw(port, head.encode(), pieces)


def ask_raw(port: int, head: bytes, pieces: Iterator[bytes]) -> Answer:
    """Send exactly these bytes, and return the answer."""
    received = exchange(port, chain([head], pieces))
    answer_head, _, body = received.partition(b"\r\n\r\n")
    status = int(answer_head.split(b" ", 2)[1])
    if b"chunked" in answer_head.lower():
        body = dechunked(body)
    text = body.decode()
    if text.startswith("{"):
        error = json.loads(text).get("error", {"code": "", "message": ""})
        return Answer(status, error["code"], error["message"])
    name, data = read_events(text)[-1]
    if name == "error":
        return Answer(status, data["error"]["code"], data["error"]["message"])
    assert name == "done"
    return Answer(status, "", "")


def exchange(port: int, pieces: Iterable[bytes]) -> bytes:
    """Send `pieces` until an answer arrives, and return all that the server sends."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            if select.select([connection], [], [], 0)[0] or not send_all(connection, piece):
                break
        received = b""
        # The connection is reset after an answer that precedes the end of the body.
        with suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                received += data
    return received


def send_all(connection: socket.socket, piece: bytes) -> bool:
    """Send `piece`; return False if an answer arrives first."""
    rest = memoryview(piece)
    while rest:
        readable, _, _ = select.select([connection], [connection], [])
        if readable:
            return False
        try:
            rest = rest[connection.send(rest[:65_536]) :]
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True


def dechunked(body: bytes) -> bytes:
    """Decode the chunked transfer encoding."""
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return found
