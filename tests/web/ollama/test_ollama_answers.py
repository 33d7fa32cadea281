"""Answers of Ollama's API: whole, line by line, of a form, and what lists and describes models."""

from __future__ import annotations

import http.client
import json
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import validate

from chat_kit import CHAT as OPENAI_CHAT
from chat_kit import MODEL, client_of, failing, question
from ollama_kit import (
    CHAT,
    GENERATE,
    IMAGE,
    USER,
    assert_ollama_refused,
    chat_body,
    lines_of,
    text_of,
)
from vlm.engine.engine import Engine
from vlm.errors import CheckpointError, GenerationError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.chats import answering
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

PROMPT = {"prompt": USER["content"], "images": USER["images"]}
COUNTS = ("prompt_eval_count", "eval_count")
DURATIONS = ("total_duration", "prompt_eval_duration", "eval_duration")
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"type": "string", "maxLength": 8}, "count": {"enum": [1, 2]}},
    "required": ["animal", "count"],
    "additionalProperties": False,
}


def streamed(port: int, path: str, **body: Any) -> list[dict[str, Any]]:
    """Return the lines that a real server sends."""
    status, headers, text = ask(port, "POST", path, json.dumps(body).encode())
    assert status == 200, text
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["X-Sightline-Model"] == MODEL
    return lines_of(text)


def test_both_routes_answer_as_openai_s_does_whole_and_in_lines(ollama_port: int) -> None:
    with client_of(ollama_port) as client:
        messages: Any = question(picture())
        asked = client.chat.completions.create(model=MODEL, messages=messages)
    for path, fields in ((CHAT, {"messages": [USER]}), (GENERATE, PROMPT)):
        *lines, last = streamed(ollama_port, path, model="any", **fields)
        _, _, text = ask(
            ollama_port, "POST", path, json.dumps({**fields, "stream": False}).encode()
        )
        whole = json.loads(text)
        assert text_of(whole) == asked.choices[0].message.content
        assert "".join(map(text_of, lines)) == text_of(whole)
        assert text_of(last) == ""
        assert [line["done"] for line in lines] == [False] * len(lines)
        for end in (last, whole):
            assert (end["done"], end["done_reason"]) == (True, "stop")
            assert all(end[name] > 0 for name in DURATIONS)
            assert asked.usage is not None
            counts = (asked.usage.prompt_tokens, asked.usage.completion_tokens)
            assert tuple(end[name] for name in COUNTS) == counts
        for line in (*lines, last, whole):
            assert line["model"] == MODEL
            datetime.fromisoformat(line["created_at"].replace("Z", "+00:00"))
            assert set(line) >= {"response"} if path == GENERATE else line["message"]["role"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_the_form_that_was_asked_for(web: FlaskClient, stream: bool) -> None:
    for form in ("json", SCHEMA):
        for path, fields in ((CHAT, {"messages": [USER]}), (GENERATE, PROMPT)):
            options = {"num_predict": 60}
            body = {**fields, "format": form, "stream": stream, "options": options}
            answer = web.post(path, json=body)
            lines = lines_of(answer.text) if stream else [answer.get_json()]
            text = "".join(map(text_of, lines))
            # The bundled model fills an object of any kind without end.
            assert text.startswith("{")
            if form is SCHEMA:
                validate(json.loads(text), SCHEMA)


def test_images_stand_at_their_marks(web: FlaskClient) -> None:
    def text(content: str, images: int = 1) -> str:
        turn = {"role": "user", "content": content, "images": [IMAGE] * images}
        return text_of(web.post(CHAT, json=chat_body(messages=[turn])).get_json())

    def openai_text(*parts: Any) -> Any:
        turn = {"role": "user", "content": parts}
        answer = web.post(OPENAI_CHAT, json={"messages": [turn], "max_tokens": 4})
        return answer.get_json()["choices"][0]["message"]["content"]

    image = {"type": "input_image", "image_url": IMAGE}
    first, second = ({"type": "text", "text": words} for words in ("What is", "this?"))
    assert text("What is[img]this?") == openai_text(first, image, second)
    assert text("What is[img]this?", 2) == openai_text(image, first, image, second)
    marked = {"type": "text", "text": "this?[img]"}
    assert text("What is[img]this?[img]") == openai_text(first, image, marked)


def test_nothing_to_answer_is_a_request_to_load(web: FlaskClient) -> None:
    for stream in (False, None, True):
        for path, empty in (
            (CHAT, {}),
            (CHAT, {"messages": []}),
            (GENERATE, {}),
            (GENERATE, {"prompt": ""}),
        ):
            body = {"model": "any", "keep_alive": "5m", "stream": stream, **empty}
            answer = web.post(path, json=body)
            assert answer.status_code == 200, answer.text
            assert answer.headers["X-Sightline-Ignored"] == "keep_alive"
            (line,) = answer.text.splitlines()
            loaded = json.loads(line)
            assert (loaded["done"], loaded["done_reason"], text_of(loaded)) == (True, "load", "")
            assert (loaded["model"], "created_at" in loaded) == (MODEL, True)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_text_is_told_as_what_it_is(web: FlaskClient, stream: bool) -> None:
    text = text_of(web.post(CHAT, json=chat_body()).get_json())
    for path, fields in ((CHAT, {"messages": [USER]}), (GENERATE, PROMPT)):
        body = {**fields, "stream": stream, "options": {"stop": [text[:2]], "num_predict": 8}}
        assert_ollama_refused(web.post(path, json=body), 422, "`options.stop`")


def test_an_image_needs_no_prompt(web: FlaskClient) -> None:
    answer = web.post(GENERATE, json={"images": [IMAGE], "stream": False}).get_json()
    assert answer["done_reason"] == "stop"
    assert answer["response"]


def test_the_system_text_of_a_prompt_is_a_turn_of_its_own(web: FlaskClient) -> None:
    body = {**PROMPT, "stream": False, "options": {"num_predict": 1}}
    alone, told = (
        web.post(GENERATE, json={**body, "system": system}).get_json()["prompt_eval_count"]
        for system in ("", "Answer in one word.")
    )
    assert told > alone + 4


def test_models_are_listed_and_described(web: FlaskClient) -> None:
    (listed,) = web.get("/api/tags").get_json()["models"]
    (loaded,) = web.get("/api/ps").get_json()["models"]
    for model in (listed, loaded):
        assert model["model"] == model["name"] == MODEL
        assert len(model["digest"]) == 64
        assert {"size", "modified_at", "details"} <= set(model)
    assert loaded["context_length"] == 2048
    assert datetime.fromisoformat(loaded["expires_at"].replace("Z", "+00:00"))
    for body in ({"model": MODEL}, {"name": "llava"}, {"model": "x", "verbose": True}):
        shown = web.post("/api/show", json=body).get_json()
        assert shown["model_info"]["smolvlm.context_length"] == 2048
        assert shown["capabilities"] == ["completion", "vision"]
        assert "error" not in shown
    version = web.get("/api/version").get_json()["version"]
    assert all(number.isdecimal() for number in version.split("."))
    assert web.head("/").status_code == web.head("/api/tags").status_code == 200


def test_lists_answer_while_the_model_loads(engine: Engine) -> None:
    unstarted = Worker(lambda: SteppedEngine(engine), max_queue=1)
    client = app_over(unstarted).test_client()
    assert client.get("/api/version").status_code == 200
    assert client.get("/api/ps").get_json() == {"models": []}
    assert "models" in client.get("/api/tags").get_json()
    for path in (CHAT, GENERATE, "/api/show", "/props"):
        answer = client.get(path) if path == "/props" else client.post(path, json=chat_body())
        assert answer.status_code == 503
        assert "loading" in answer.text
        assert answer.headers["Retry-After"]


def test_a_failed_model_is_told_as_a_string() -> None:
    def fail() -> Any:
        raise CheckpointError("The checkpoint is damaged.")

    with started(Worker(fail, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        for answer in (client.post(CHAT, json=chat_body()), client.get("/api/tags")):
            assert answer.status_code == 503
            assert "damaged" in answer.get_json()["error"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_midway_is_a_last_line(engine: Engine, stream: bool) -> None:
    with failing(engine, GenerationError("The device ran out of memory.")) as port:
        body = json.dumps(chat_body(stream=stream)).encode()
        status, _, text = ask(port, "POST", CHAT, body)
        if not stream:
            assert (status, json.loads(text)) == (500, {"error": "The device ran out of memory."})
            return
        first, last = lines_of(text)
        assert text_of(first) == "A "
        assert last == {"error": "The device ran out of memory."}


def test_lines_arrive_at_once_and_waiting_ones_have_no_text(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.streaming.KEEPALIVE_S", 0.0)
    monkeypatch.setattr(answering, "FIRST_WAITS", 1)
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, admission),
    ):
        # The answer starts before the first token.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
        connection.request("POST", CHAT, json.dumps(chat_body(stream=True)))
        response = connection.getresponse()
        first = json.loads(response.readline())
        assert (text_of(first), first["done"]) == ("", False)
        stepped.allow(1)
        while not text_of(json.loads(response.readline())):
            pass
        response.close()
        connection.close()
        wait_until(lambda: admission.in_flight == 0)
        stepped.allow(10_000)
        assert stepped.made <= 2
