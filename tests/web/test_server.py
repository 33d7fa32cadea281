"""The web server: answers of a WSGI application, and clients that hang up."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from flask import Flask

from web import connections, handshake, server
from web.connections import MAX_BODY_BYTES
from web.server import Server, listen
from web.wsgi import MAX_UNREAD_BYTES, ON_HANG_UP
from web_client import HANG_GUARD_S

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

View = Callable[["WSGIEnvironment"], Iterable[bytes]]
OK = "200 OK"


@contextmanager
def serving(app: WSGIApplication, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server of `app`, which has ten threads."""
    listener = listen("127.0.0.1", 0)
    running = Server(app, listener, 2, tls)
    running.start()
    try:
        yield listener.getsockname()[1]
    finally:
        running.stop()


def app_of(
    view: View, status: str = OK, headers: Iterable[tuple[str, str]] = ()
) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        return view(environ)

    return app


def raw(port: int, request: bytes) -> bytes:
    """All that comes for these very bytes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()


def one(method: str = "GET", target: str = "/", version: str = "1.1", close: bool = True) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost"]
    return "\r\n".join([*lines, *(["Connection: close"] if close else []), "\r\n"]).encode()


def begun(port: int) -> http.client.HTTPConnection:
    """A connection whose request has been sent and whose answer has not been read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
    connection.request("GET", "/")
    return connection


def numbers(environ: WSGIEnvironment) -> Iterator[bytes]:
    yield b"one "
    yield b""
    yield b"two"


def secure() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS of a server, and of a client that trusts it."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return tls, trusting


def test_a_certificate_is_all_that_https_needs() -> None:
    tls, trusting = secure()
    app = Flask("page")
    app.add_url_rule("/", view_func=lambda: "Hello")
    with serving(app, tls) as port:
        connection = http.client.HTTPSConnection("localhost", port, context=trusting)
        for _ in range(2):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"Hello"
        connection.close()


def test_a_connection_is_kept_after_a_stream() -> None:
    with serving(app_of(numbers)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
        for _ in range(2):
            connection.request("GET", "/")
            response = connection.getresponse()
            assert response.read() == b"one two"
            assert not response.will_close
        connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status", "ending"),
    [
        (one(), OK, b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"),
        # HTTP/1.0 has no chunks: the answer ends with the connection.
        (one(version="1.0"), OK, b"\r\n\r\none two"),
        (one("HEAD"), OK, b"\r\n\r\n"),
        (one(), "204 No Content", b"\r\n\r\n"),
        (one(), "304 Not Modified", b"\r\n\r\n"),
        (one("OPTIONS", "*"), OK, b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"),
    ],
)
def test_an_answer_has_the_form_that_its_client_can_read(
    request_bytes: bytes, status: str, ending: bytes
) -> None:
    empty = status[:3] in ("204", "304")
    with serving(app_of((lambda _: iter(())) if empty else numbers, status)) as port:
        answer = raw(port, request_bytes)
    assert answer.startswith(f"HTTP/1.1 {status}".encode())
    assert answer.endswith(ending)
    assert answer.count(b"\r\n\r\n") == ending.count(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/a%20b/%C3%A9?q=%20", "/a b/é", "localhost"),
        ("http://elsewhere.example:80/a?q=%20", "/a", "elsewhere.example:80"),
        ("http://elsewhere.example", "/", "elsewhere.example"),
    ],
)
def test_the_application_is_given_the_request(target: str, path: str, host: str) -> None:
    seen: list[dict[str, Any]] = []

    def view(environ: WSGIEnvironment) -> list[bytes]:
        seen.append(dict(environ))
        return [environ["wsgi.input"].read()]

    with serving(app_of(view)) as port:
        head = one("POST", target, close=False)[:-2]
        fields = "A-b: 1\r\nA_b: 2\r\nA-B: 3\r\nContent-Type: x/y\r\nTransfer-Encoding: chunked"
        body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + one()
        assert b"abcde" in raw(port, head + f"{fields}\r\n\r\n".encode() + body)
    environ = seen[0]
    assert environ["PATH_INFO"].encode("latin-1").decode() == path
    assert environ["QUERY_STRING"] == ("q=%20" if "?" in target else "")
    assert (environ["HTTP_HOST"], environ["HTTP_A_B"]) == (host, "1, 3")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("x/y", "5")
    assert environ["SERVER_PORT"] == str(port)
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_a_failure_before_the_first_piece_is_a_500() -> None:
    def view(_: WSGIEnvironment) -> Iterator[bytes]:
        yield b""
        raise RuntimeError("secret of the house")

    with serving(app_of(view)) as port:
        head, _, body = raw(port, one()).partition(b"\r\n\r\n")
    assert b" 500 " in head.splitlines()[0]
    assert json.loads(body)["error"]["code"] == "internal"
    assert b"secret" not in body


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_fails_midway_is_never_taken_for_a_whole_one(version: str) -> None:
    read = threading.Event()
    closed = threading.Event()

    def view(_: WSGIEnvironment) -> Iterator[bytes]:
        try:
            yield b"one\n"
            assert read.wait(HANG_GUARD_S)
            raise RuntimeError("x")
        finally:
            closed.set()

    with (
        serving(app_of(view)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as connection,
    ):
        connection.sendall(one(version=version))
        stream = connection.makefile("rb")
        while b"one" not in stream.readline():
            pass
        read.set()
        with pytest.raises(ConnectionResetError):
            stream.read()
        assert closed.wait(HANG_GUARD_S)


@pytest.mark.parametrize(("promised", "given"), [("2", b"one"), ("4", b"one")])
def test_an_answer_of_another_length_than_promised_is_cut(promised: str, given: bytes) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [("Content-Length", promised)])
        return [given]

    with serving(app) as port:
        connection = begun(port)
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            connection.getresponse().read()
        connection.close()


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_hang_up_runs_the_callback_and_closes_the_stream(pieces: int) -> None:
    gone, late, closed = threading.Event(), threading.Event(), threading.Event()
    calls: list[str] = []

    def view(environ: WSGIEnvironment) -> Iterator[bytes]:
        environ[ON_HANG_UP](lambda: (calls.append("once"), gone.set()))
        try:
            yield from [b"piece\n"] * pieces
            assert gone.wait(HANG_GUARD_S)
            environ[ON_HANG_UP](late.set)
            assert late.is_set()
            yield b"to nobody"
            calls.append("read on")
        finally:
            closed.set()

    with serving(app_of(view)) as port:
        connection = begun(port)
        if pieces:
            assert connection.getresponse().readline() == b"piece\n"
        connection.close()
        # A response that is still referred to would keep the socket open.
        assert closed.wait(HANG_GUARD_S)
    assert calls == ["once"]


def test_an_answer_that_is_complete_is_no_hang_up() -> None:
    calls: list[str] = []

    def view(environ: WSGIEnvironment) -> list[bytes]:
        environ[ON_HANG_UP](lambda: calls.append("gone"))
        return [b"whole"]

    with serving(app_of(view)) as port:
        connection = begun(port)
        assert connection.getresponse().read() == b"whole"
        connection.close()
    assert calls == []


def test_a_client_that_never_reads_holds_little_and_no_thread() -> None:
    pulled = 0
    closed = threading.Event()

    def view(environ: WSGIEnvironment) -> Iterator[bytes]:
        nonlocal pulled
        try:
            while True:
                pulled += 1
                yield bytes(65536)
        finally:
            closed.set()

    with serving(app_of(view)) as port:
        connection = begun(port)
        assert closed.wait(HANG_GUARD_S)
        connection.close()
    # The system's own buffers take some hundred kilobytes.
    assert MAX_UNREAD_BYTES < pulled * 65536 < MAX_UNREAD_BYTES + 2**21


def test_few_of_the_requests_that_a_client_sends_ahead_are_answered_unless_it_reads() -> None:
    """Answers of 64 KiB to 100 requests in one segment."""
    answered: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [("Content-Length", "65536")])
        answered.append(environ["PATH_INFO"])
        return [bytes(32768)] * 2

    with ExitStack() as held:
        port = held.enter_context(serving(app))
        address = ("127.0.0.1", port)
        unread = held.enter_context(socket.create_connection(address, timeout=HANG_GUARD_S))
        unread.sendall(one(target="/unread", close=False) * 100)
        # Enough answers for others that the first client has had time for all of its own.
        for _ in range(200):
            connection = begun(port)
            assert len(connection.getresponse().read()) == 65536
            connection.close()
        assert answered.count("/unread") < 40


def test_answers_within_the_bound_need_no_reader_to_end() -> None:
    """Thirty unread answers, ten threads: each thread is free as soon as its answer is made."""
    made = threading.Semaphore(0)

    def view(environ: WSGIEnvironment) -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(65536)
        made.release()

    with serving(app_of(view)) as port:
        unread = [begun(port) for _ in range(30)]
        for _ in unread:
            assert made.acquire(timeout=HANG_GUARD_S)
        for connection in unread:
            connection.close()


def test_a_client_that_stops_reading_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_ANSWER_S", 0)
    gone = threading.Event()
    go = threading.Event()

    def view(environ: WSGIEnvironment) -> Iterator[bytes]:
        environ[ON_HANG_UP](gone.set)
        yield bytes(MAX_UNREAD_BYTES - 1)
        go.wait(HANG_GUARD_S)
        yield b"late"

    with serving(app_of(view)) as port:
        connection = begun(port)
        assert gone.wait(HANG_GUARD_S)
        go.set()
        connection.close()


def test_a_client_that_is_still_sending_reads_why_it_was_refused() -> None:
    with serving(app_of(numbers)) as port:
        head = one("POST", close=False)[:-2] + b"Content-Length: %d\r\n\r\n"
        for announced in (MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES):
            answer = raw(port, head % announced + bytes(MAX_BODY_BYTES // 2))
            assert b" 413 " in answer.splitlines()[0]
            assert (
                json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_too_large"
            )


def test_the_end_of_the_server_waits_for_no_client() -> None:
    begun_answer, closed = threading.Event(), threading.Event()

    def view(_: WSGIEnvironment) -> Iterator[bytes]:
        try:
            while True:
                begun_answer.set()
                yield bytes(65536)
        finally:
            closed.set()

    with serving(app_of(view)) as port:
        unread = begun(port)
        half = socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S)
        half.sendall(one()[:-2])
        idle = socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S)
        assert begun_answer.wait(HANG_GUARD_S)
    for connection in (half, idle):
        assert connection.recv(1) == b""
        connection.close()
    unread.close()
    # The application's thread is free again.
    assert closed.wait(HANG_GUARD_S)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00" + bytes(300)])
def test_stalled_handshakes_hold_no_thread_and_make_room(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "CONNECTION_LIMIT", 20)
    tls, trusting = secure()
    threads = threading.active_count()
    with serving(app_of(numbers), tls) as port, ExitStack() as opened:
        stalled = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port), HANG_GUARD_S))
            for _ in range(100)
        ]
        for each in stalled:
            # One that has been cut already may be among them.
            with suppress(OSError):
                each.sendall(sent)
        for _ in range(3):
            connection = http.client.HTTPSConnection("localhost", port, context=trusting)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"one two"
            connection.close()
        # The server's own, and one that answered.
        assert threading.active_count() <= threads + 2
        for each in stalled[:70]:
            with suppress(ConnectionResetError):
                assert each.recv(1) == b""


def test_a_handshake_that_takes_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_DEADLINE_S", 0.01)
    tls, _ = secure()
    with (
        serving(app_of(numbers), tls) as port,
        socket.create_connection(("127.0.0.1", port), HANG_GUARD_S) as stalled,
    ):
        stalled.sendall(b"\x16")
        with suppress(ConnectionResetError):
            assert stalled.recv(1) == b""


@pytest.mark.parametrize("limit", ["HEAD_DEADLINE_S", "IDLE_CONNECTION_S"])
def test_a_half_sent_head_is_cut(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(connections, limit, 0)
    with (
        serving(app_of(numbers)) as port,
        socket.create_connection(("127.0.0.1", port), HANG_GUARD_S) as half,
    ):
        with suppress(OSError):
            half.sendall(one()[:-2])
        with suppress(ConnectionResetError):
            assert half.recv(1) == b""
