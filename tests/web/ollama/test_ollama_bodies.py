"""Bodies of Ollama's clients are answered; mistakes are refused, with a string that names them."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from chat_kit import MODEL
from ollama_kit import CHAT, GENERATE, IMAGE, USER, assert_ollama_refused, chat_body, lines_of
from vlm.prompts import CHAT_MAX_CHARS
from web.chats.fields import MAX_MESSAGES, MAX_STOPS
from web.chats.images import MAX_IMAGES
from web.chats.json_body import MAX_DEPTH, MAX_VALUES
from web.errors import MAX_BODY_BYTES
from web_client import picture

# The bodies themselves, if they lie beside the repository; the cases below are their short forms.
CLIENTS = Path(__file__).parents[4] / "shared" / "clients" / "ollama"
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
CALL = {"function": {"name": "look", "arguments": {"at": 1}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


class Case(NamedTuple):
    """Fields of a body, and the names in the header of its answer."""

    fields: dict[str, Any]
    ignored: str = ""
    path: str = CHAT


def options(ignored: str = "", **values: Any) -> Case:
    return Case({"options": {"num_predict": 1, **values}}, ignored)


def turns(*earlier: dict[str, Any], ignored: str = "") -> Case:
    return Case({"messages": [*earlier, USER]}, ignored)


def generate(ignored: str = "", **fields: Any) -> Case:
    return Case({"prompt": "What?", "images": [IMAGE], **fields}, ignored, GENERATE)


CASES = [
    Case({"model": None, "stream": None, "format": None, "options": {"num_predict": 1}}),
    Case({"model": "llava:latest", "tools": [], "think": False, "keep_alive": 0}),
    Case({"keep_alive": "5m", "think": "high", "tools": [TOOL]}, "keep_alive, think, tools"),
    Case({"format": ""}),
    Case({"format": SCHEMA}),
    Case({"format": {**SCHEMA, "$schema": "http://json-schema.org/draft-07/schema#"}}),
    Case({"format": "json", "truncate": True}, "truncate"),
    # Options.
    options(),
    options(num_predict=-1, stop="no such words"),
    options(num_predict=-2, stop=["no such words"]),
    options(num_predict=0),
    options(num_predict=3.0, seed=-1, top_k=0, top_p=1, min_p=0, temperature=None),
    options(temperature=0.7, top_k=40, top_p=0.9, min_p=0.05, seed=42),
    options(repeat_penalty=1.1, presence_penalty=1.5, frequency_penalty=1.0),
    options("options.mirostat, options.num_ctx", num_ctx=4096, mirostat=2, numa=False),
    # Messages.
    turns({"role": "system", "content": "Be brief."}),
    turns({"role": "User", "content": "Be brief."}, {"role": "developer", "content": "a"}),
    turns({"role": "assistant", "content": "", "tool_calls": [CALL]}),
    turns({"role": "assistant", "tool_calls": [CALL]}),
    turns({"role": "tool", "content": "now", "tool_name": "look", "tool_call_id": "c"}),
    turns({"role": "user", "content": None, "images": None, "thinking": None}),
    turns(
        {"role": "assistant", "content": "a", "thinking": "b", "at": 1},
        ignored="messages.at, messages.thinking",
    ),
    turns(*[{"role": "user", "content": "a"}] * 200),
    Case({"messages": [{**USER, "images": [IMAGE] * 3}]}),
    # Images: bare, in a data URI, urlsafe, with line breaks, without padding.
    *(
        Case({"messages": [{**USER, "images": [image]}]})
        for image in (
            f"data:image/jpeg;base64,{IMAGE}",
            IMAGE.replace("+", "-").replace("/", "_"),
            "\n".join(IMAGE[start : start + 76] for start in range(0, len(IMAGE), 76)),
            IMAGE.rstrip("="),
        )
    ),
    # Prompts.
    generate(),
    generate(suffix="", system="Be brief.", raw=False, template="", context=[]),
    generate("context, raw, template", raw=True, template="{{ .Prompt }}", context=[1, 2]),
    generate(format=SCHEMA),
    generate(prompt="### User:\nWhat?\n\n"),
]


@pytest.mark.parametrize("stream", [False, True])
def test_what_clients_send_is_answered(web: FlaskClient, stream: bool) -> None:
    for case in CASES:
        body: dict[str, Any] = {"model": MODEL, "stream": stream, "options": {"num_predict": 8}}
        body |= {"messages": [USER]} if case.path == CHAT else {}
        # As curl sends it.
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        data = json.dumps(body | case.fields)
        answer = web.post(case.path, data=data, headers=headers)
        assert answer.status_code == 200, (case, answer.text)
        lines = lines_of(answer.text) if answer.mimetype != "application/json" else [answer.json]
        assert lines[-1]["done"], case
        assert answer.headers.get("X-Sightline-Ignored", "") == case.ignored, case
        assert answer.headers["X-Sightline-Model"] == MODEL


def test_recorded_bodies_are_answered(web: FlaskClient) -> None:
    if not CLIENTS.is_dir():
        pytest.skip("The recorded bodies are not beside the repository.")
    jpeg = base64.b64encode(picture()).decode()
    for file in sorted(CLIENTS.glob("*.json")):
        recorded = json.loads(file.read_text().replace("{{image_base64}}", jpeg))
        answer = web.post(recorded["path"], json=recorded["body"])
        assert answer.status_code == 200, (file.stem, answer.text)
        assert '"done":true' in answer.text
        assert '"error"' not in answer.text


def test_the_log_names_route_and_what_was_ignored(
    web: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sightline.requests")
    web.post(CHAT, json=chat_body(keep_alive="5m")).close()
    web.get("/api/tags").close()
    (fields,) = [record.__dict__["fields"] for record in caplog.records]
    assert fields["ignored"] == ["keep_alive"]
    assert (fields["route"], fields["outcome"], fields["tokens"]) == (CHAT, "done", 4)


class Mistake(NamedTuple):
    body: Any
    words: str
    status: int = 400
    path: str = CHAT


def of_chat(words: str, status: int = 400, **fields: Any) -> Mistake:
    return Mistake(chat_body(**fields), words, status)


def of_image(image: object, words: str, status: int = 400) -> Mistake:
    named = f"messages[0].images[0]{words}"
    return of_chat(named, status, messages=[{**USER, "images": [image]}])


def of_prompt(words: str, **fields: Any) -> Mistake:
    return Mistake({"prompt": "What?", **fields}, words, path=GENERATE)


MISTAKES = [
    Mistake(b"", "JSON"),
    Mistake(b"{", "JSON"),
    Mistake(b'{"model": "\xff"}', "UTF-8"),
    Mistake(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deep"),
    Mistake(b"[" + b"0," * MAX_VALUES + b"0]", "commas"),
    Mistake(b'{"model": "a", "model": "b"}', "more than once"),
    Mistake(b'"' + b"a" * MAX_BODY_BYTES + b'"', f"{MAX_BODY_BYTES // 2**20} MiB", 413),
    Mistake([], "must be an object"),
    Mistake({}, "`messages` is missing"),
    Mistake({}, "`prompt` is missing", path=GENERATE),
    of_chat("`stream`", stream="yes"),
    of_chat("`format`", format="yaml"),
    of_chat("`format`", format=5),
    of_chat("`not`", format={"not": {}}),
    of_chat("`options`", options=[]),
    of_chat("`options.temperature`", options={"temperature": 3}),
    of_chat("`options.top_p`", options={"top_p": "a"}),
    of_chat("`options.num_predict`", options={"num_predict": 1.5}),
    of_chat("`options.stop[0]`", options={"stop": [""]}),
    of_chat("`options.stop`", options={"stop": ["a"] * (MAX_STOPS + 1)}),
    of_chat("`messages`", messages={}),
    of_chat("`messages`", messages=[USER] * (MAX_MESSAGES + 1)),
    of_chat("`messages[0].role`", messages=[{"role": "narrator", "content": "a"}]),
    of_chat("`messages[0].content`", messages=[{"role": "user", "content": 5}]),
    of_chat("`messages[0].content`", messages=[{"role": "user", "content": "a\ufffd"}]),
    of_chat("`messages`", messages=[{"role": "user", "content": "word " * (CHAT_MAX_CHARS // 5)}]),
    of_chat("`messages[0].images`", messages=[{**USER, "images": IMAGE}]),
    of_chat(
        f"At most {MAX_IMAGES} images", messages=[{**USER, "images": [IMAGE] * (MAX_IMAGES + 1)}]
    ),
    of_image("http://127.0.0.1:9/a.png", "` must be base64"),
    of_image("/etc/hostname.png", "` must be base64"),
    of_image("", "` must be base64"),
    of_image("AAAA", "`: "),
    of_image(base64.b64encode(picture("GIF")).decode(), "`: "),
    of_image(5, "` must be"),
    of_prompt("`suffix` cannot be used", suffix="after"),
    of_prompt("`prompt`", prompt="word " * (CHAT_MAX_CHARS // 5)),
    of_prompt("`images[0]`", images=["AAAA"]),
    Mistake({"model": 5}, "`model`", path="/api/show"),
    Mistake({"model": "llava"}, f"`{MODEL}` runs here", 501, "/api/pull"),
    *(
        Mistake({}, "This server runs one model", 501, f"/api/{name}")
        for name in ("create", "push", "copy", "delete", "blobs/sha256:0")
    ),
    *(Mistake({}, "no embeddings", 501, f"/api/{name}") for name in ("embed", "embeddings")),
]


def test_each_mistake_is_refused_by_its_field(web: FlaskClient) -> None:
    for mistake in MISTAKES:
        body = mistake.body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert_ollama_refused(web.post(mistake.path, data=data), mistake.status, mistake.words)


def test_other_refusals_are_strings_too(web: FlaskClient) -> None:
    for answer, status in (
        (web.get(CHAT), 405),
        (web.post("/api/tags"), 405),
        (web.post("/api/chat/none"), 404),
        (web.get("/api/tags", headers={"Host": "evil.example"}), 403),
        (web.post(CHAT, json=chat_body(), headers={"Origin": "https://evil.example"}), 403),
        (web.get("/api/tags", headers={"Sec-Fetch-Site": "cross-site"}), 403),
    ):
        assert_ollama_refused(answer, status)
    assert "POST /api/generate" in web.post("/api/chat/none").get_json()["error"]


def test_a_model_that_runs_is_pulled_at_once(web: FlaskClient) -> None:
    for name in (MODEL, f"{MODEL}:latest", MODEL.upper()):
        answer = web.post("/api/pull", json={"model": name})
        assert (answer.status_code, answer.get_json()) == (200, {"status": "success"})
