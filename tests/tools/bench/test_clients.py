"""Many cameras against one server over HTTP: what they send, and what is counted."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tools.bench.__main__ import main
from tools.bench.clients import Answer, CameraClient, Load, rss_bytes
from tools.bench.frames import PictureFolder, jpegs_by_camera
from tools.bench.report import CLIENTS
from vlm.engine.engine import Engine
from vlm.images.decode import decode_image
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import SteppedEngine, picture, served, started

COLOURS = ("red", "lime", "blue", "white", "black", "yellow")


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (64, 48), colour).save(folder / f"{number}.png")
    return folder


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that answers each request with these bytes and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received = b""
            while b"\r\n\r\n" not in received:
                received += self.request.recv(65536)
            length = int(received.lower().partition(b"content-length:")[2].split()[0])
            left = length - len(received.partition(b"\r\n\r\n")[2])
            while left > 0:
                left -= len(self.request.recv(65536))
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def captions(port: int, times: int = 1) -> list[Answer]:
    async def run() -> list[Answer]:
        url = f"http://127.0.0.1:{port}"
        async with aclosing(CameraClient(url, "camera", "What is this?", 4)) as client:
            return [await client.caption(picture()) for _ in range(times)]

    return asyncio.run(run())


def test_caption_has_a_first_word_and_an_end(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    stepped.allow(1000)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, _),
    ):
        answers = captions(port, times=3)
    assert [each.ending for each in answers] == ["captioned"] * 3
    for each in answers:
        assert each.first_word_s is not None
        assert each.all_s is not None
        assert 0 < each.first_word_s <= each.all_s
    # The server has measured the first two.
    assert answers[-1].interval_s > 0


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
ERROR = b'event: error\ndata: {"error": {"code": "%s", "message": "Words."}}\n\n'
REFUSAL = b'{"error": {"code": "busy", "message": "Words."}}'


@pytest.mark.parametrize(
    ("answer", "ending", "problem"),
    [
        (STREAM + ERROR % b"superseded", "superseded", "superseded: Words."),
        (STREAM + ERROR % b"generation_failed", "failed", "generation_failed: Words."),
        (STREAM + b'event: token\ndata: {"text": "A"}\n\n', "unanswered", "ended midway"),
        (STREAM + b": waiting\n\n", "unanswered", "ended midway"),
        (b"", "unanswered", "connection broke"),
        (b"What?\r\n\r\n", "unanswered", "connection broke"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", "failed", "500"),
        (
            b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL)
            + REFUSAL,
            "refused",
            "503 busy: Words.",
        ),
    ],
)
def test_frame_without_a_caption_has_its_reason(answer: bytes, ending: str, problem: str) -> None:
    with answering(answer) as port:
        (outcome,) = captions(port)
    assert outcome.ending == ending
    assert outcome.problem is not None
    assert problem in outcome.problem
    if ending == "refused":
        assert outcome.retry_after_s == 7


def test_figures_follow_from_the_outcomes() -> None:
    load = Load(
        seconds=10.0,
        answers=[
            *(Answer("captioned", 0.1 * n, 0.2 * n) for n in range(1, 7)),
            Answer("refused", problem="busy"),
            Answer("superseded", problem="newer"),
            Answer("failed", problem="out of memory"),
            Answer("unanswered", problem="nothing"),
        ],
        served=[1, 2, 3],
    )
    figures = load.figures()
    assert figures["captions_per_s"] == pytest.approx(0.6)
    assert figures["first_word_p50_s"] == pytest.approx(0.35)
    assert figures["least_over_mean"] == pytest.approx(0.5)
    assert figures["least_over_most"] == pytest.approx(1 / 3)
    endings = ("refused", "superseded", "failed", "unanswered")
    assert [figures[ending] for ending in endings] == [1] * 4
    assert len(figures["problems"]) == 4


def test_figures_without_captions_are_null() -> None:
    figures = Load(seconds=1.0, answers=[Answer("failed", problem="x")], served=[0, 0]).figures()
    assert (figures["captions"], figures["failed"]) == (0, 1)
    for key in ("first_word_p50_s", "caption_p50_s", "least_over_mean", "least_over_most"):
        assert figures[key] is None


def test_cameras_share_a_clip_and_no_frame(clip_folder: Path) -> None:
    cameras = jpegs_by_camera(PictureFolder(clip_folder), 64, 3)
    assert [len(frames) for frames in cameras] == [len(COLOURS)] * 3
    shown = {decode_image(jpeg).tobytes() for frames in cameras for jpeg in frames}
    assert len(shown) == 3 * len(COLOURS)
    middles = [decode_image(frames[0]).getpixel((40, 30)) for frames in cameras]
    assert len(set(middles)) == 3


def test_memory_of_a_missing_process_is_none() -> None:
    assert rss_bytes(2**22 + 1) is None


def test_server_is_started_for_the_cameras(
    clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--runtime", "torch", "--device", "cpu", "--tokens", "4", "--video", str(clip_folder)]
    assert main([*flags, "--clients", "3", "--seconds", "0.4", "--against-alone"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    report: dict[str, Any] = json.loads(last)
    figures = report["clients"]
    assert (report["model"], report["runtime"], report["device"]) == ("nano", "torch", "cpu")
    assert figures["clients"] == 3
    assert figures["captions"] >= 3
    assert figures["least_served"] >= 1
    assert (figures["failed"], figures["unanswered"], figures["refused"]) == (0, 0, 0)
    assert figures["first_word_over_alone"] > 0
    assert figures["problems"] == {}
    for _, label, _ in CLIENTS:
        assert any(line.startswith(label) for line in table)


@pytest.mark.slow
def test_fifty_cameras_are_served_for_five_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--clients", "50", "--seconds", "300"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["clients"]
    for ending in ("refused", "superseded", "failed", "unanswered"):
        assert figures[ending] == 0, figures["problems"]
    assert figures["least_over_mean"] >= 0.8
    # None if the server has already gone.
    assert (figures["rss_last_over_first"] or 1.0) <= 1.05


def test_running_server_is_measured_and_left_running(
    engine: Engine, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stepped = SteppedEngine(engine)
    stepped.allow(1_000_000)
    with (
        started(Worker(lambda: stepped, max_queue=8)) as worker,
        served(worker, Settings()) as (port, _),
    ):
        flags = ["--video", str(clip_folder), "--tokens", "4", "--seconds", "0.2", "--paced"]
        assert main([*flags, "--clients", "2", "--url", f"http://127.0.0.1:{port}"]) == 0
        assert worker.state == "ready"
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["clients"]
    assert figures["least_served"] >= 1
    assert figures["rss_first_mb"] is None


def test_another_server_or_none_ends_the_run_with_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            assert main(["--clients", "1", "--url", url]) == 1
        finally:
            server.shutdown()
            thread.join()
    assert "is not Sightline" in capsys.readouterr().err
    assert main(["--clients", "1", "--url", url]) == 1
    assert "does not answer" in capsys.readouterr().err
