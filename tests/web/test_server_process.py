"""The server as a process: its start, many clients, clients that hang up, and its end."""

from __future__ import annotations

import errno
import http.client
import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from app import WORKER_END_S
from vlm.engine.engine import Engine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.connections import MAX_BODY_BYTES
from web.server import (
    STOP_DEADLINE_S,
    ListenError,
    is_open_to_others,
    listen,
    page_url,
)
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

CAPTIONS = "/api/captions"


def begin(port: int, path: str = CAPTIONS) -> http.client.HTTPConnection:
    """A connection on which a caption has been asked for and nothing has been read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
    connection.request("POST", path, picture(), JPEG)
    return connection


def queue_of(port: int) -> dict[str, object]:
    queue: dict[str, object] = json.loads(ask(port, "GET", "/api/status")[2])["queue"]
    return queue


def test_the_page_opens_while_the_model_loads_and_captions_once_it_has() -> None:
    with SightlineProcess() as sightline:
        assert ask(sightline.port, "GET", "/")[0] == 200
        assert ask(sightline.port, "GET", "/healthz")[0] == 200
        sightline.wait_until_ready()
        assert f"http://127.0.0.1:{sightline.port}" in sightline.lines[-1]
        status, _, body = ask(sightline.port, "POST", CAPTIONS, picture(), JPEG)
        assert status == 200
        assert read_events(body)[-1][0] == "done"


def test_a_model_that_cannot_be_loaded_leaves_the_page_up() -> None:
    # A format that the runtime lacks: the bundled model could not be loaded in it either.
    flags = ["--model", "nano", "--runtime", "openvino", "--dtype", "float16"]
    with SightlineProcess(flags) as sightline:

        def failed() -> bool:
            return bool(
                json.loads(ask(sightline.port, "GET", "/api/status")[2])["state"] == "failed"
            )

        wait_until(failed)
        assert sightline.process.stderr is not None
        assert "failed to load" in sightline.process.stderr.readline()
        assert ask(sightline.port, "GET", "/")[0] == 200
        status, _, body = ask(sightline.port, "POST", CAPTIONS, picture(), JPEG)
        assert status == 503
        assert json.loads(body)["error"]["code"] == "model_failed"
        sightline.process.send_signal(signal.SIGINT)
        _, words = sightline.process.communicate(timeout=HANG_GUARD_S)
        assert "Traceback" not in words


@pytest.mark.parametrize("end_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_with_a_stream_under_way(
    endless_dir: Path, end_signal: signal.Signals
) -> None:
    with SightlineProcess(["--model", str(endless_dir)]) as sightline:
        sightline.wait_until_ready()
        connection = begin(sightline.port, CAPTIONS + "?max_tokens=512&stop_loops=0")
        response = connection.getresponse()
        while not response.readline().startswith(b"event: token"):
            pass
        sightline.process.send_signal(end_signal)
        assert sightline.process.wait(HANG_GUARD_S) == 0
        # Not run to its end, but ended.
        name, data = read_events(response.read().decode().partition("\n\n")[2])[-1]
        assert name == "error"
        assert data["error"]["code"] == "stopping"
        connection.close()
        _, errors = sightline.process.communicate()
        assert errors == ""


def test_a_signal_ends_the_process_while_it_loads() -> None:
    with SightlineProcess() as sightline:
        sightline.process.send_signal(signal.SIGINT)
        assert sightline.process.wait(HANG_GUARD_S) == 0
        assert sightline.process.stdout is not None
        assert "Ready" not in sightline.process.stdout.read()


def test_a_closed_stdout_is_no_failure_of_the_end() -> None:
    with SightlineProcess(["--model", "nano"]) as sightline:
        sightline.wait_until_ready()
        assert sightline.process.stdout is not None
        sightline.process.stdout.close()
        sightline.process.send_signal(signal.SIGINT)
        assert sightline.process.wait(HANG_GUARD_S) == 0
        assert sightline.process.stderr is not None
        assert sightline.process.stderr.read() == ""
        # `communicate` of the end would read the closed pipe.
        sightline.process.stdout = None


def test_a_process_that_does_not_end_by_itself_is_ended_within_two_seconds() -> None:
    assert STOP_DEADLINE_S + WORKER_END_S < 2


def test_a_taken_port_is_told_in_words() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "app.py", "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert f"Port {port} is taken" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 100])
def test_an_address_that_is_not_ours_is_told_in_words(host: str) -> None:
    with pytest.raises(ListenError, match="--host"):
        listen(host, 0)


@pytest.mark.parametrize(
    ("port", "code", "windows_error", "words"),
    [
        (80, errno.EACCES, None, "Port 80 is not allowed. Choose one above 1023 with --port."),
        (1023, errno.EPERM, None, "Choose one above 1023"),
        (1024, errno.EACCES, None, "Port 1024 is not allowed here; .*--port 0 for a free one"),
        (8000, errno.EPERM, None, "Port 8000 is not allowed here; .*--port 0 for a free one"),
        (
            8000,
            errno.EACCES,
            10013,
            "Windows has reserved port 8000 .10013.. `netsh interface ipv4 show excludedportrange "
            "protocol=tcp` .*--port 0",
        ),
        (80, errno.EACCES, 10013, "excludedportrange"),
        (8000, errno.EADDRINUSE, 10048, "Port 8000 is taken"),
    ],
)
def test_a_port_that_is_not_allowed_has_a_way_on(
    monkeypatch: pytest.MonkeyPatch, port: int, code: int, windows_error: int | None, words: str
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        error = OSError(code, "no")
        if windows_error:
            error.winerror = windows_error  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ListenError, match=words) as raised:
        listen("127.0.0.1", port)
    assert port < 1024 or "above 1023" not in str(raised.value)


def test_bound_everywhere_the_page_is_at_the_loopback_address() -> None:
    with listen("0.0.0.0", 0) as everywhere:
        assert page_url(everywhere).startswith("http://127.0.0.1:")
        assert is_open_to_others(everywhere)


def test_the_loopback_address_is_closed_to_others() -> None:
    with listen("127.0.0.1", 0) as closed:
        assert not is_open_to_others(closed)


def test_bound_everywhere_the_terminal_says_who_can_use_it() -> None:
    with SightlineProcess(["--host", "0.0.0.0"]) as sightline:
        assert sightline.wait_for_line("Warning: anyone on your network")


def test_a_hang_up_stops_the_generation_within_a_token(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, admission),
    ):
        connection = begin(port)
        stepped.allow(1)
        response = connection.getresponse()
        while not response.readline().startswith(b"event: token"):
            pass
        assert stepped.made == 1
        response.close()
        connection.close()
        # The generation waits for a permit, so nothing but the hang-up can have ended the stream.
        wait_until(lambda: admission.in_flight == 0)
        stepped.allow(1)
        wait_until(lambda: stepped.closed == 1)
        assert stepped.made <= 2
        stepped.allow(10_000)
        status, _, body = ask(port, "POST", CAPTIONS, picture(), JPEG)
        assert status == 200
        assert read_events(body)[-1][0] == "done"


def test_a_hang_up_before_the_first_token_stops_the_generation(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, admission),
    ):
        connection = begin(port)
        wait_until(lambda: worker.queue.in_flight == 1)
        connection.close()
        wait_until(lambda: stepped.closed == 1)
        assert stepped.made == 0
        wait_until(lambda: admission.in_flight == 0)


def test_a_hang_up_in_the_queue_gives_the_place_back(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    settings = Settings(max_queue=1)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, settings) as (port, _),
    ):
        first = begin(port)
        wait_until(lambda: worker.busy)
        second = begin(port)
        wait_until(lambda: worker.queue.waiting == 1)
        assert ask(port, "POST", CAPTIONS, picture(), JPEG)[0] == 503
        second.close()
        wait_until(lambda: worker.queue.waiting == 0)
        third = begin(port)
        wait_until(lambda: worker.queue.waiting == 1)
        stepped.allow(10_000)
        for connection in (first, third):
            assert read_events(connection.getresponse().read().decode())[-1][0] == "done"
            connection.close()


def test_a_newer_frame_replaces_the_one_that_waits(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=4)) as worker,
        served(worker, Settings()) as (port, _),
    ):
        answers = [begin(port, f"{CAPTIONS}?camera=front")]
        wait_until(lambda: worker.busy)
        for camera, waiting in (("back", 1), ("front", 2)):
            answers.append(begin(port, f"{CAPTIONS}?camera={camera}"))
            wait_until(lambda waiting=waiting: worker.queue.waiting == waiting)  # type: ignore[misc]
        newer = begin(port, f"{CAPTIONS}?camera=back")
        # No step was allowed yet, so nothing but the newer frame can have ended this one.
        name, data = read_events(answers[1].getresponse().read().decode())[-1]
        assert (name, data["error"]["code"]) == ("error", "superseded")
        assert worker.queue.waiting == 2
        stepped.allow(10_000)
        for connection in (answers[0], answers[2], newer):
            assert read_events(connection.getresponse().read().decode())[-1][0] == "done"
        for connection in (*answers, newer):
            connection.close()


def test_each_event_leaves_at_once(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, _),
    ):
        connection = begin(port)
        stepped.allow(1)
        response = connection.getresponse()
        for made in (1, 2, 3):
            # No further permit is given, so what is read here was not held back for more.
            while not response.readline().startswith(b"data: "):
                pass
            assert stepped.made == made
            stepped.allow(1)
        stepped.allow(10_000)
        assert b"event: done" in response.read()
        connection.close()


def test_fifty_clients_at_once_are_each_answered_or_told_to_come_again(nano_dir: Path) -> None:
    with SightlineProcess(["--model", str(nano_dir)]) as sightline:
        sightline.wait_until_ready()
        few_tokens = CAPTIONS + "?max_tokens=4"
        with ThreadPoolExecutor(50) as clients:
            answers = list(
                clients.map(
                    lambda _: ask(sightline.port, "POST", few_tokens, picture(), JPEG), range(50)
                )
            )
        for status, headers, body in answers:
            assert status in (200, 503)
            if status == 200:
                assert read_events(body)[-1][0] == "done"
            else:
                assert int(headers["Retry-After"]) >= 1
                assert json.loads(body)["error"]["code"] == "busy"
        assert any(status == 200 for status, _, _ in answers)
        assert ask(sightline.port, "POST", few_tokens, picture(), JPEG)[0] == 200


def test_the_page_answers_while_all_places_are_taken(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    settings = Settings()
    worker = Worker(lambda: stepped, settings.max_queue)
    with started(worker), served(worker, settings) as (port, _):
        held = [begin(port) for _ in range(settings.max_queue + 1)]
        wait_until(lambda: worker.queue.waiting == settings.max_queue)
        waiting = {"waiting": settings.max_queue, "limit": settings.max_queue, "busy": True}
        assert queue_of(port) == waiting
        assert ask(port, "GET", "/")[0] == 200
        assert ask(port, "GET", "/healthz")[0] == 200
        stepped.allow(10_000)
        for connection in held:
            assert connection.getresponse().status == 200
            connection.close()


def test_half_sent_requests_hold_nothing_up(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    stepped.allow(10_000)
    worker = Worker(lambda: stepped, max_queue=1)
    with started(worker), served(worker, Settings()) as (port, _):
        half = (
            f"POST {CAPTIONS} HTTP/1.1\r\nHost: localhost:{port}\r\n"
            "Content-Type: image/jpeg\r\nContent-Length: 4000\r\n\r\nhalf"
        )
        hanging = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for connection in hanging:
            connection.sendall(half.encode())
        assert ask(port, "GET", "/healthz")[0] == 200
        assert ask(port, "POST", CAPTIONS, picture(), JPEG)[0] == 200
        for connection in hanging:
            connection.close()


def raw(port: int, request: bytes) -> tuple[bytes, dict[str, dict[str, str]]]:
    """The status line and the JSON that a request of these very bytes gets."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as connection:
        connection.sendall(request)
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], json.loads(body)


def test_what_the_server_itself_refuses_is_json_too(engine: Engine) -> None:
    worker = Worker(lambda: SteppedEngine(engine), max_queue=1)
    with started(worker), served(worker, Settings()) as (port, _):
        head = f"POST {CAPTIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        line, answer = raw(port, f"{head}Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
        assert b" 413 " in line
        assert answer["error"]["code"] == "image_too_large"
        line, answer = raw(port, f"{head}Content-Length: many\r\n\r\n".encode())
        assert b" 400 " in line
        assert answer["error"]["code"] == "bad_request"
        line, answer = raw(port, f"{head}X-Long: {'x' * 40_000}\r\n\r\n".encode())
        assert b" 431 " in line
        assert answer["error"]["code"] == "bad_request"
        line, answer = raw(port, b"POST / HTTP/1.0\r\n\r\n")
        assert b" 403 " in line


def test_a_body_in_chunks_is_taken_and_bounded(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    stepped.allow(10_000)
    worker = Worker(lambda: stepped, max_queue=1)
    with started(worker), served(worker, Settings()) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
        connection.request("POST", CAPTIONS, iter([picture()]), JPEG)
        assert connection.getresponse().status == 200
        connection.close()
        connection.request("POST", CAPTIONS, iter([bytes(2**20)] * 17), JPEG)
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["error"]["code"] == "image_too_large"
        connection.close()
        # Single bytes cost the event loop, which everybody shares, more than their transport.
        head = f"POST {CAPTIONS} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), HANG_GUARD_S) as opened:
            opened.sendall(head.encode() + b"1\r\nx\r\n" * 100_000)
            response = http.client.HTTPResponse(opened)
            response.begin()
            assert response.status == 400
            assert "chunks that are too small" in response.read().decode()
