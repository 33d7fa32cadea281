"""One line a request: what it tells, that it comes once, and what is never in it."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from vlm.engine.engine import Engine
from vlm.prompts import PRESETS
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web import streaming
from web.request_log import JsonLines, log, request_log, write_request_log
from web_client import (
    HANG_GUARD_S,
    JPEG,
    SightlineProcess,
    SteppedEngine,
    app_over,
    ask,
    picture,
    read_events,
    started,
    wait_until,
)

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log's lines so far, read back from their text."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


class ReadingClient(FlaskClient):
    """Reads each answer to its end and closes it, as a server does, unless told otherwise."""

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> Any:
        return super().open(*args, buffered=buffered, **kwargs)


def client_of(app: Flask) -> FlaskClient:
    app.test_client_class = ReadingClient
    return app.test_client()


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return client_of(web_app)


def test_a_caption_is_one_line_that_tells_what_it_cost(client: FlaskClient, lines: Lines) -> None:
    query = {"max_tokens": 3, "camera": "door"}
    data = picture()
    answer = client.post("/api/captions", query_string=query, data=data, headers=JPEG)
    done = read_events(answer.text)[-1][1]
    (line,) = lines()
    assert datetime.fromisoformat(line["time"].replace("Z", "+00:00")).tzinfo is not None
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/captions", 200)
    assert line["bytes_in"] == len(data)
    assert line["bytes_out"] == len(answer.data)
    assert line["outcome"] == "done"
    assert line["kind"] in ("live", "question")
    assert line["finish_reason"] == done["finish_reason"]
    assert line["model"] == client.get("/api/status").get_json()["model"]
    for name in ("tokens", "prompt_tokens", "image_tokens", "drafted", "accepted"):
        assert line[name] == done["stats"][name]
    for name in ("ttft_s", "queued_s", "total_s"):
        assert line[name] == round(done["stats"][name], 4)
    assert line["seconds"] >= line["total_s"]
    assert "error_code" not in line


def test_no_line_holds_what_was_asked_answered_or_by_whom(
    client: FlaskClient, lines: Lines
) -> None:
    headers = {**JPEG, "Authorization": "Bearer open-sesame"}
    query = {"prompt": "What is my secret?", "camera": "cellar", "token": "open-sesame"}
    answer = client.post("/api/captions", query_string=query, data=picture(), headers=headers)
    client.get("/cellar-door", headers=headers)
    text = json.dumps(lines())
    assert len(lines()) == 2
    assert read_events(answer.text)[-1][1]["text"] not in text
    for word in ("secret", "cellar", "open-sesame", "127.0.0.1"):
        assert word not in text


def test_what_was_asked_and_answered_is_told_where_it_is_wanted(
    web_worker: Worker, lines: Lines
) -> None:
    client = client_of(app_over(web_worker, Settings(log_text=True)))
    query = {"prompt": "Line one\nline two\u2028line three"}
    answer = client.post("/api/captions", query_string=query, data=picture(), headers=JPEG)
    (line,) = lines()
    assert line["prompt"] == query["prompt"]
    assert line["text"] == read_events(answer.text)[-1][1]["text"]


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("GET", "/nothing-here", b"", {"status": 404, "error_code": "not_found"}),
        ("GET", "/static/nothing", b"", {"status": 404, "route": "/static/<path:filename>"}),
        ("PUT", "/api/status", b"", {"status": 405, "error_code": "method_not_allowed"}),
        ("POST", "/api/captions", b"x", {"status": 400, "error_code": "bad_image"}),
        ("CURSE", "/", b"", {"status": 405, "method": "other"}),
    ],
)
def test_a_refusal_is_told_with_its_code(
    client: FlaskClient, lines: Lines, method: str, path: str, body: bytes, told: dict[str, object]
) -> None:
    client.open(path, method=method, data=body, headers=JPEG)
    (line,) = lines()
    assert {name: line[name] for name in told} == told
    assert line.get("outcome") == ("refused" if path == "/api/captions" else None)


def test_a_request_of_another_site_is_told_too(client: FlaskClient, lines: Lines) -> None:
    client.get("/api/status", headers={"Host": "evil.example"})
    (line,) = lines()
    assert (line["status"], line["error_code"]) == (403, "forbidden")
    assert "evil" not in json.dumps(line)


@pytest.mark.parametrize("path", ["/api/status", "/healthz", "/static/js/io/api.js"])
def test_what_is_asked_every_second_is_not_told(
    client: FlaskClient, lines: Lines, path: str
) -> None:
    with client.get(path) as answer:
        assert answer.status_code == 200
    assert lines() == []


def test_the_page_itself_is_told(client: FlaskClient, lines: Lines) -> None:
    page = client.get("/")
    (line,) = lines()
    assert (line["route"], line["bytes_out"]) == ("/", len(page.data))


def test_an_answer_without_a_body_is_told_once(client: FlaskClient, lines: Lines) -> None:
    client.head("/")
    (line,) = lines()
    assert (line["method"], line["bytes_out"]) == ("HEAD", 0)


def test_a_stream_that_is_broken_off_is_told_once_it_is(
    engine: Engine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "KEEPALIVE_S", 0.0)
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=1)) as worker:
        client = client_of(app_over(worker))
        answer = client.post("/api/captions", data=picture(), headers=JPEG, buffered=False)
        piece = next(iter(answer.response))
        assert lines() == []
        answer.close()
        (line,) = lines()
        assert line["outcome"] == "cancelled"
        assert line["bytes_out"] == len(piece)
        stepped.allow(10_000)


def test_a_frame_that_a_newer_one_replaces_is_told_as_that(engine: Engine, lines: Lines) -> None:
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=5)) as worker, ThreadPoolExecutor(3) as others:
        app = app_over(worker)

        def send(camera: str) -> Future[Any]:
            path = f"/api/captions?camera={camera}"
            client = client_of(app)
            return others.submit(client.post, path, data=picture(), headers=JPEG)

        under_way = send("door")
        wait_until(lambda: worker.queue.in_flight == 1)
        older = send("garden")
        wait_until(lambda: worker.queue.waiting == 1)
        newer = send("garden")
        assert read_events(older.result().text)[-1][1]["error"]["code"] == "superseded"
        (line,) = lines()
        assert (line["outcome"], line["error_code"]) == ("superseded", "superseded")
        assert (line["kind"], line["status"]) == ("live", 200)
        stepped.allow(10_000)
        for answer in (under_way, newer):
            assert read_events(answer.result().text)[-1][0] == "done"


def said_in(answer: str, stream: bool) -> str:
    """The text of a chat's answer."""
    if not stream:
        said: str = json.loads(answer)["choices"][0]["message"]["content"]
        return said
    chunks = [json.loads(data) for data in re.findall(r"data: (\{.*)", answer)]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_told_as_a_caption_is(web_worker: Worker, lines: Lines, stream: bool) -> None:
    client = client_of(app_over(web_worker, Settings(log_text=True)))
    model = client.get("/api/status").get_json()["model"]
    messages = [{"role": "user", "content": "What is it?"}]
    body = {"model": model, "messages": messages, "max_tokens": 2, "stream": stream}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    (line,) = lines()
    assert (line["route"], line["outcome"]) == ("/v1/chat/completions", "done")
    assert (line["kind"], line["tokens"], line["model"]) == ("question", 2, model)
    assert line["prompt"] == "What is it?"
    assert line["text"] == said_in(answer.text, stream)


def test_an_unforeseen_error_is_told_without_its_words(web_app: Flask, lines: Lines) -> None:
    def fail() -> str:
        raise RuntimeError("secret of the house")

    web_app.add_url_rule("/fails", view_func=fail)
    client_of(web_app).get("/fails")
    (line,) = lines()
    assert (line["route"], line["status"], line["error_code"]) == ("/fails", 500, "internal")
    assert "secret" not in json.dumps(line)


def test_a_text_cannot_begin_a_line_of_its_own(web_app: Flask, lines: Lines) -> None:
    def tell() -> str:
        request_log().model = 'nano"}\n{"status": 200, "model": "\u2028'
        return "told"

    web_app.add_url_rule("/tells", view_func=tell)
    client_of(web_app).get("/tells")
    (line,) = lines()
    assert line["model"].startswith("nano")


@pytest.mark.parametrize(
    ("choice", "terminal", "written"),
    [("auto", False, True), ("auto", True, False), ("on", True, True), ("off", False, False)],
)
def test_lines_are_written_where_nobody_reads_along_or_where_they_are_wanted(
    choice: str, terminal: bool, written: bool, monkeypatch: pytest.MonkeyPatch, web_worker: Worker
) -> None:
    class Stderr(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    out = Stderr()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    try:
        write_request_log(Settings(log_requests=choice))
        client_of(app_over(web_worker)).get("/")
    finally:
        log.setLevel(logging.NOTSET)
    assert [json.loads(line)["route"] for line in out.getvalue().splitlines()] == ["/"] * written


def test_a_process_writes_its_lines_to_stderr(nano_dir: Any) -> None:
    env = {"SIGHTLINE_LOG_REQUESTS": "auto"}
    with SightlineProcess(["--model", str(nano_dir)], env) as sightline:
        sightline.wait_until_ready()
        body = {"prompt": PRESETS[0].prompt, "max_tokens": 2}
        path = "/api/captions?" + "&".join(f"{name}={value}" for name, value in body.items())
        status, _, _ = ask(sightline.port, "POST", path.replace(" ", "+"), picture(), JPEG)
        assert status == 200
        assert ask(sightline.port, "GET", "/healthz")[0] == 200
        sightline.process.terminate()
        _, errors = sightline.process.communicate(timeout=HANG_GUARD_S)
    (line,) = [json.loads(line) for line in errors.splitlines()]
    assert (line["route"], line["outcome"], line["tokens"]) == ("/api/captions", "done", 2)
