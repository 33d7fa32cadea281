"""/v1 while the model loads, is busy, fails midway or shuts down: no cut answer looks whole."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from chat_kit import CHAT, JSON, MODEL, chat_body, client_of, failing, question
from vlm.engine.engine import Engine
from vlm.errors import BadRequestError, CheckpointError, GenerationError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.chats import answering
from web.connections import MAX_BODY_BYTES as SERVER_MAX_BODY_BYTES
from web.errors import MAX_BODY_BYTES
from web.openai import body
from web_client import (
    HANG_GUARD_S,
    SteppedEngine,
    app_over,
    ask,
    picture,
    served,
    started,
    wait_until,
)

SECRET = "secret of the house"


def create(client: openai.OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(**chat_body(**fields))


def posted(port: int, **fields: Any) -> tuple[int, http.client.HTTPMessage, str]:
    return ask(port, "POST", CHAT, json.dumps(chat_body(**fields)).encode(), JSON)


def test_an_error_midway_ends_the_stream_without_done(
    engine: Engine,
) -> None:
    error = GenerationError("The device ran out of memory. Try again.")
    with failing(engine, error) as port:
        for _ in range(3):  # Admission and worker recover each time.
            status, _, body = posted(port, stream=True)
            assert status == 200
            *chunks, last = [
                json.loads(line.removeprefix("data: ")) for line in body.split("\n\n") if line
            ]
            assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None]
            assert last["error"] == {
                "message": str(error),
                "type": "server_error",
                "param": None,
                "code": "generation_failed",
            }
        with client_of(port) as client, create(client, stream=True) as chunks:
            assert next(chunks).choices[0].delta.role == "assistant"
            assert next(chunks).choices[0].delta.content == "A "
            with pytest.raises(openai.APIError, match="memory"):
                next(chunks)


def test_an_error_midway_ends_a_streamed_response_as_failed(engine: Engine) -> None:
    error = GenerationError("The device ran out of memory. Try again.")
    with failing(engine, error) as port, client_of(port) as client:
        events = list(client.responses.create(model=MODEL, input="Hello.", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.message == str(error)


def test_an_error_midway_fails_an_unstreamed_answer(engine: Engine) -> None:
    with (
        failing(engine, GenerationError("The device ran out of memory.")) as port,
        client_of(port) as client,
        pytest.raises(openai.InternalServerError, match="memory"),
    ):
        create(client)


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_of_the_engine_name_the_messages(engine: Engine, stream: bool) -> None:
    refusal = BadRequestError("This model takes no text without an image.")
    with failing(engine, refusal, words=0) as port, client_of(port) as client:
        with pytest.raises(openai.BadRequestError, match="without an image") as refused:
            create(client, stream=stream)
        assert refused.value.param == "messages"


@pytest.mark.parametrize("stream", [False, True])
def test_unexpected_engine_errors_reveal_nothing(engine: Engine, stream: bool) -> None:
    with failing(engine, RuntimeError(SECRET)) as port:
        status, _, body = posted(port, stream=stream)
        assert status == (200 if stream else 500)
        assert '"error"' in body
        assert "[DONE]" not in body
        assert SECRET not in body


def test_unexpected_route_errors_reveal_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(body, "chat_request", fail)
    with started(Worker(lambda: SteppedEngine(engine), max_queue=1)) as worker:
        answer = app_over(worker).test_client().post(CHAT, json=chat_body())
    assert answer.status_code == 500
    assert answer.get_json()["error"]["code"] == "internal"
    assert answer.get_json()["error"]["type"] == "server_error"
    assert SECRET not in answer.text


def test_requests_while_loading_get_retry_after(engine: Engine) -> None:
    may_load = threading.Event()

    def load() -> SteppedEngine:
        assert may_load.wait(HANG_GUARD_S)
        return SteppedEngine(engine)

    worker = Worker(load, max_queue=1)
    worker.start()
    try:
        client = app_over(worker).test_client()
        for answer in (
            client.post(CHAT, json=chat_body()),
            client.get(f"/v1/models/{MODEL}"),
        ):
            assert answer.status_code == 503
            assert answer.get_json()["error"]["code"] == "loading"
            assert int(answer.headers["Retry-After"]) >= 1
        assert client.get("/v1/models").get_json() == {"object": "list", "data": []}
    finally:
        may_load.set()
        worker.close(HANG_GUARD_S)


def test_a_failed_load_is_reported() -> None:
    def load() -> SteppedEngine:
        raise CheckpointError("The folder holds no model.")

    with started(Worker(load, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        for answer in (client.post(CHAT, json=chat_body()), client.get("/v1/models")):
            assert answer.status_code == 503
            assert answer.get_json()["error"]["code"] == "model_failed"
            assert "no model" in answer.get_json()["error"]["message"]


def test_a_full_queue_gets_retry_after_and_the_client_retries(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    settings = Settings(max_queue=1)
    with (
        started(Worker(lambda: stepped, settings.max_queue)) as worker,
        served(worker, settings) as (port, _),
        client_of(port) as client,
        ThreadPoolExecutor(3) as threads,
    ):
        held = [threads.submit(create, client)]
        wait_until(lambda: worker.queue.in_flight == 1)
        held.append(threads.submit(create, client))
        wait_until(lambda: worker.queue.waiting == 1)
        status, headers, body = posted(port)
        assert status == 503
        assert int(headers["Retry-After"]) >= 1
        assert json.loads(body)["error"]["code"] == "busy"
        # OpenAI's client waits for Retry-After and retries.
        patient = threads.submit(create, client.with_options(max_retries=5))
        stepped.allow(10_000)
        for answer in (*held, patient):
            assert answer.result(HANG_GUARD_S).choices[0].message.content


def test_shutdown_ends_a_stream_with_an_error(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, admission),
        client_of(port) as client,
    ):
        stepped.allow(1)
        with create(client, stream=True, max_tokens=64) as chunks:
            next(chunks), next(chunks)
            admission.stop()
            with pytest.raises(openai.APIError, match="shutting down"):
                next(chunks)
        stepped.allow(10_000)


def test_a_waiting_stream_starts_and_gets_keepalives(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.streaming.KEEPALIVE_S", 0.0)
    monkeypatch.setattr(answering, "FIRST_WAITS", 1)
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, _),
        client_of(port) as client,
        # The answer starts before the first token.
        create(client, stream=True) as chunks,
    ):
        assert next(chunks).choices[0].delta.role == "assistant"
        stepped.allow(10_000)
        assert next(chunks).choices[0].delta.content
        assert [*chunks][-1].choices[0].finish_reason is not None


def raw(port: int, request: bytes) -> tuple[bytes, dict[str, dict[str, str]]]:
    """Return the status line and the JSON that answer these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as connection:
        connection.sendall(request)
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], json.loads(body)


def test_refusals_of_the_web_server_have_the_same_form(api_port: int) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    length = f"Content-Length: {SERVER_MAX_BODY_BYTES + 1}\r\n\r\n"
    line, answer = raw(api_port, (head + length).encode())
    assert b" 413 " in line
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert f"{SERVER_MAX_BODY_BYTES // 2**20} MiB" in answer["error"]["message"]


def test_a_too_large_body_gets_its_answer_over_the_network(api_port: int) -> None:
    body = b'"' + b"a" * MAX_BODY_BYTES + b'"'
    status, _, text = ask(api_port, "POST", CHAT, body, JSON)
    assert status == 413
    assert json.loads(text)["error"]["code"] == "request_too_large"
    assert posted(api_port)[0] == 200


def test_concurrent_clients_get_the_answers_of_serial_ones(api_port: int) -> None:
    pictures = [picture(size=(32 + 16 * number, 48)) for number in range(6)]
    with client_of(api_port) as client, ThreadPoolExecutor(6) as threads:

        def text_about(image: bytes) -> str:
            answer = create(client, messages=question(image), max_tokens=8)
            return str(answer.choices[0].message.content)

        alone = [text_about(image) for image in pictures]
        assert list(threads.map(text_about, pictures)) == alone
