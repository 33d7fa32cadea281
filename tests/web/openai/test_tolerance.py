"""Bodies as other programs send them: answered, and what has no effect is named in a header."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from chat_kit import CHAT, MODEL, data_uri, question, text_part
from web_client import picture

URI = data_uri()
BASE64 = URI.partition(",")[2]
WRAPPED = "\r\n ".join(BASE64[start : start + 76] for start in range(0, len(BASE64), 76))
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
USER = question()[0]
# The bodies themselves, if they lie beside the repository; the cases below are their short forms.
CLIENTS = Path(__file__).parents[4] / "shared" / "clients"


class Case(NamedTuple):
    """Fields of a body, and the names in the header of its answer."""

    fields: dict[str, Any]
    ignored: str = ""


def image(url: Any, kind: str = "image_url", **fields: Any) -> Case:
    part = {"type": kind, "image_url": url, **fields}
    return Case({"messages": [{"role": "user", "content": [part, text_part("What?")]}]})


def turns(*earlier: dict[str, Any], ignored: str = "") -> Case:
    return Case({"messages": [*earlier, USER]}, ignored)


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
CASES = [
    # Limits, numbers and the model's name.
    Case({"max_tokens": 3000}),
    Case({"max_completion_tokens": 3000, "max_tokens": None}),
    Case({"max_tokens": 2.0, "seed": -1.0, "n": 1.0, "temperature": 1}),
    Case({"top_p": 0, "temperature": 1}),
    Case({"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.05, "temperature": 0.7}),
    Case({"presence_penalty": 0.1, "frequency_penalty": 0.1, "logit_bias": {"5": -100}}),
    Case({"typical_p": 0.9, "mirostat": 2}, "mirostat, typical_p"),
    Case({"model": "gpt-4o"}),
    Case({"model": None}),
    # Fields that have no effect.
    Case({"store": True, "metadata": {"a": "b"}}, "metadata, store"),
    Case({"store": False, "service_tier": None, "think": False}),
    Case({"keep_alive": "5m", "Na\u00efve, name": 1}, "Navename, keep_alive"),
    Case({"stream_options": {"include_usage": True}}),
    Case({"tools": TOOLS, "tool_choice": "auto"}, "tools"),
    Case({"tools": TOOLS}, "tools"),
    Case({"tools": TOOLS, "tool_choice": "none"}),
    Case({"tool_choice": "required"}),
    # Messages and their parts.
    turns({"role": "developer", "content": "Be brief."}),
    turns({"role": "tool", "tool_call_id": "t", "content": "now"}),
    turns({"role": "user", "content": None}, {"role": "assistant", "content": None}),
    turns({"role": "assistant", "tool_calls": [CALL]}),
    turns(
        {"role": "user", "content": "a", "name": "Ann"},
        {"role": "assistant", "content": "b", "reasoning_content": "c", "id": "m1"},
        ignored="messages.id, messages.name, messages.reasoning_content",
    ),
    Case({"messages": [*[{"role": "user", "content": "a"}] * 200, USER]}),
    Case({"messages": [USER, {"role": "system", "content": "Answer in words."}]}),
    Case({"messages": [{"role": "user", "content": [], "image_url": URI}]}),
    turns(
        {"role": "user", "content": [{**text_part("a"), "cache_control": {"type": "x"}}]},
        ignored="messages.content.cache_control",
    ),
    Case({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "What?"}]}]}),
    Case({"messages": question(*[picture()] * 17)}),
    # Images.
    image(URI),
    image(URI, "input_image", detail="auto"),
    image({"url": URI, "detail": "original"}),
    image({"url": URI, "detail": "tiny"}),
    image({"url": URI, "detail": "medium"})._replace(ignored="detail"),
    image(BASE64),
    image({"url": URI.replace("data:", "DATA:").replace("base64", "BASE64")}),
    image({"url": f" data:image/png; charset=x ;base64,\n{WRAPPED}\n"}),
    image({"url": URI.rstrip("=").replace("+", "-").replace("/", "_").replace("_", "/", 1)}),
    image({"url": URI.replace("+", "%2B").replace("=", "%3D")}),
]


@pytest.mark.parametrize("stream", [False, True])
def test_what_other_programs_send_is_answered(web: FlaskClient, stream: bool) -> None:
    for case in CASES:
        body = {"messages": question(), "max_tokens": 1, "stream": stream, **case.fields}
        if "max_tokens" in case.fields:
            body["stop"] = [" "]
        answer = web.post(CHAT, json=body)
        assert answer.status_code == 200, (case, answer.text)
        assert '"error"' not in answer.text
        assert answer.headers.get("X-Sightline-Ignored", "") == case.ignored, case
        assert answer.headers["X-Sightline-Model"] == MODEL
        assert f'"model":"{MODEL}"' in answer.text


def test_each_form_of_a_data_uri_is_the_same_image(web: FlaskClient) -> None:
    counts = set()
    for case in CASES[-5:]:
        body = {"messages": case.fields["messages"], "max_tokens": 8}
        counts.add(web.post(CHAT, json=body).get_json()["choices"][0]["message"]["content"])
    assert len(counts) == 1


def test_an_answer_is_not_cut_at_the_length_of_a_caption(web: FlaskClient) -> None:
    body = {"messages": question(text="Describe this image in detail.")}
    answer = web.post(CHAT, json=body).get_json()
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_the_log_names_what_was_ignored(web: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sightline.requests")
    web.post(CHAT, json={"messages": question(), "max_tokens": 1, "store": True}).close()
    (fields,) = [record.__dict__["fields"] for record in caplog.records]
    assert fields["ignored"] == ["store"]


def test_recorded_bodies_are_answered(web: FlaskClient) -> None:
    if not CLIENTS.is_dir():
        pytest.skip("The recorded bodies are not beside the repository.")
    # An address; and bytes that are the beginning of a JPEG.
    refused = {
        "simonw-llm-http-attachment": "invalid_value",
        "data-image-jpeg-base64": "bad_image",
        "data-upper-case-scheme": "bad_image",
        "raw-base64-url": "bad_image",
    }
    jpeg = base64.b64encode(picture()).decode()
    folders = ("*.json", "tools/*.json", "responses/*.json")
    for file in sorted(file for folder in folders for file in CLIENTS.glob(folder)):
        recorded = json.loads(
            file.read_text().replace("{{image}}", f"data:image/jpeg;base64,{jpeg}")
        )
        limit = "max_output_tokens" if file.parent.name == "responses" else "max_tokens"
        answer = web.post(recorded.get("path", CHAT), json={limit: 4, **recorded["body"]})
        code = refused.get(file.stem)
        assert answer.status_code == (200 if code is None else 400), (file.stem, answer.text)
        if code is not None:
            assert answer.get_json()["error"]["code"] == code
