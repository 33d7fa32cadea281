"""Clients who connect and then hang, trickle or idle: they only take the place of their like."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from vlm.engine.engine import Engine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web import connections, server
from web_client import (
    HANG_GUARD_S,
    JPEG,
    ROOT,
    SightlineProcess,
    SteppedEngine,
    ask,
    picture,
    read_events,
    served,
    started,
    wait_until,
)

resource = pytest.importorskip("resource")

CAPTIONS = "/api/captions"
HANGING = 1000


@contextmanager
def hanging(port: int, count: int, body: bytes = b"half") -> Iterator[list[socket.socket]]:
    """Connections on which half a frame has been sent."""
    head = (
        f"POST {CAPTIONS} HTTP/1.1\r\nHost: localhost:{port}\r\n"
        "Content-Type: image/jpeg\r\nContent-Length: 4000000\r\n\r\n"
    )
    with ExitStack() as opened:
        hung = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S)
            hung.append(opened.enter_context(connection))
            # One that has been cut already may be among them.
            with suppress(OSError):
                connection.sendall(head.encode() + body)
        yield hung


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextmanager
def quick_server(engine: Engine) -> Iterator[int]:
    """The port of a server in this process, which captions at once."""
    stepped = SteppedEngine(engine)
    stepped.allow(10_000)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, _),
    ):
        yield port


def test_small_pieces_of_an_answer_are_not_held_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = []
    made = connections.Connection.connection_made

    def noting(self: connections.Connection, transport: Any) -> None:
        made(self, transport)
        opened = transport.get_extra_info("socket")
        delays.append(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(connections.Connection, "connection_made", noting)
    with quick_server(engine) as port:
        assert_captions(port)
        assert delays
        assert all(delays)


def assert_captions(port: int) -> None:
    status, _, body = ask(port, "POST", CAPTIONS, picture(), JPEG)
    assert status == 200
    assert read_events(body)[-1][0] == "done"


def test_a_thousand_clients_that_hang_in_half_a_frame_hold_nothing_up(nano_dir: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = HANGING + 200
    if hard != resource.RLIM_INFINITY and hard < files:
        pytest.skip(f"needs {files} open files, and at most {hard} are allowed")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        with SightlineProcess(["--model", str(nano_dir)]) as sightline:
            sightline.wait_until_ready()
            with hanging(sightline.port, HANGING) as hung:
                for _ in range(5):
                    assert_captions(sightline.port)
                    assert ask(sightline.port, "GET", "/healthz")[0] == 200
                assert all(is_open(connection) for connection in hung)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_server_gets_itself_the_open_files_that_its_connections_need() -> None:
    script = (
        "import resource; from flask import Flask; from web.server import Server, listen\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "server = Server(Flask('x'), listen('127.0.0.1', 0), 1)\n"
        "soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n"
        "unbounded = hard == resource.RLIM_INFINITY\n"
        "print(soft, hard, unbounded, server.connections.limit, flush=True)\n"
        "import os; os._exit(0)"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    soft, hard, unbounded, most_connections = out.split()
    wanted = server.CONNECTION_LIMIT + server.SPARE_CONNECTIONS + server.FILES_BESIDE
    reachable = wanted if unbounded == "True" else min(wanted, int(hard))
    assert int(soft) == reachable
    assert int(most_connections) <= int(soft)


def test_where_all_places_are_taken_the_longest_hanging_makes_room(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTION_LIMIT", 20)
    with quick_server(engine) as port, hanging(port, 60) as hung:
        for _ in range(5):
            assert_captions(port)
        wait_until(lambda: sum(map(is_open, hung)) <= 21)
        assert not any(is_open(connection) for connection in hung[:30])
        assert is_open(hung[-1])


def test_a_connection_that_waits_for_its_caption_makes_no_room(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTION_LIMIT", 10)
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, _),
    ):
        waiting = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
        waiting.request("POST", CAPTIONS, picture(), JPEG)
        wait_until(lambda: worker.busy)
        with hanging(port, 40):
            assert ask(port, "GET", "/healthz")[0] == 200
            stepped.allow(10_000)
            assert read_events(waiting.getresponse().read().decode())[-1][0] == "done"
        waiting.close()


def test_a_frame_that_trickles_in_for_too_long_is_cut(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The timer that is set when a head begins is set again when it fires.
    monkeypatch.setattr(connections, "HEAD_DEADLINE_S", 1)
    monkeypatch.setattr(connections, "REQUEST_DEADLINE_S", 0)
    with quick_server(engine) as port, hanging(port, 1) as (connection,):

        def is_cut_while_it_sends() -> bool:
            with suppress(OSError):
                connection.send(b"x")
            return not is_open(connection)

        wait_until(is_cut_while_it_sends)


def test_a_connection_that_idles_is_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_CONNECTION_S", 0)
    with (
        quick_server(engine) as port,
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        wait_until(lambda: not is_open(connection))


def test_what_unfinished_frames_hold_together_is_bounded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_UNFINISHED_BYTES", 1_000_000)
    with quick_server(engine) as port, hanging(port, 40, bytes(100_000)) as hung:
        wait_until(lambda: sum(map(is_open, hung)) <= 10)
        assert is_open(hung[-1])
        assert_captions(port)
