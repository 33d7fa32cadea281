"""Answers of a demanded form: JSON of a schema, one of several texts, the call of a tool."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from chat_kit import CHAT, MODEL, question

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "blue"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "note": {"anyOf": [{"type": "string", "maxLength": 8}, {"type": "null"}]},
    },
    "required": ["colour", "count", "note"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "scene", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
NAMED = {"type": "function", "function": {"name": "look"}}


def fits(text: str) -> None:
    told = json.loads(text)
    assert list(told) == ["colour", "count", "note"]
    assert told["colour"] in ("red", "green", "blue")
    assert 0 <= told["count"] <= 9
    assert told["note"] is None or len(told["note"]) <= 8


def answer(web: FlaskClient, **fields: Any) -> Any:
    response = web.post(CHAT, json={"messages": question(), **fields})
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": JSON_SCHEMA},
        {"response_format": JSON_SCHEMA, "temperature": 2, "seed": 1},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"json_schema": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
    ],
)
def test_json_fits_its_schema(web: FlaskClient, fields: dict[str, Any]) -> None:
    (choice,) = answer(web, **fields).get_json()["choices"]
    assert choice["finish_reason"] == "stop"
    fits(choice["message"]["content"])


def test_an_answer_is_one_of_the_texts_or_matches_the_expression(web: FlaskClient) -> None:
    texts = ["a cat", 'a "dog"', "\u00e9t\u00e9"]
    for fields in (
        {"guided_choice": texts},
        {"structured_outputs": {"choice": texts}},
        {"guided_regex": "[0-9]{3}/[a-z]"},
        {"regex": "[0-9]{3}/[a-z]"},
        {"structured_outputs": {"regex": "[0-9]{3}/[a-z]"}},
    ):
        text = answer(web, **fields).get_json()["choices"][0]["message"]["content"]
        assert text in texts or re.fullmatch("[0-9]{3}/[a-z]", text), (fields, text)


def test_a_long_form_is_not_cut(web: FlaskClient) -> None:
    schema = {"type": "array", "items": {"const": 12345}, "minItems": 60, "maxItems": 60}
    (choice,) = answer(web, json_schema=schema).get_json()["choices"]
    assert (choice["finish_reason"], len(json.loads(choice["message"]["content"]))) == ("stop", 60)


def test_keywords_that_an_answer_may_break_are_named(web: FlaskClient) -> None:
    a_set = {"type": "array", "items": {"const": 1}, "uniqueItems": True, "maxItems": 1}
    path = {"type": "string", "format": "path", "maxLength": 4}
    schema = {"type": "object", "properties": {"a": a_set, "b": path}, "required": ["a", "b"]}
    schema["additionalProperties"] = False
    headers = answer(web, json_schema=schema).headers
    assert headers["X-Sightline-Ignored"] == "json_schema.format, json_schema.uniqueItems"


def test_numbers_of_a_schema_may_have_common_bounds(web: FlaskClient) -> None:
    least, most = -(2**53) + 1, 2**53 - 1
    price = {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 9}
    size = {"type": "integer", "multipleOf": 500, "minimum": least, "maximum": most}
    properties = {"a": {"enum": [least, most]}, "b": price, "c": size}
    schema = {"type": "object", "properties": properties, "required": ["a"]}
    told = json.loads(
        answer(web, json_schema={**schema, "additionalProperties": False}).get_json()["choices"][0][
            "message"
        ]["content"]
    )
    assert told["a"] in (least, most)


def test_a_streamed_form_equals_the_whole_one(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": question(), "response_format": JSON_SCHEMA}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    with client.chat.completions.create(**asked, stream=True) as chunks:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_forced_tool_is_called(client: OpenAI, choice: Any) -> None:
    tools = [TOOL] if choice == "required" else [{"type": "function", "function": {}}, TOOL]
    asked: Any = {"model": MODEL, "messages": question(), "tools": tools, "tool_choice": choice}
    (whole,) = client.chat.completions.create(**asked).choices
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)
    (call,) = whole.message.tool_calls or ()
    assert call.type == "function" and call.id
    assert call.function.name == "look"
    fits(call.function.arguments)
    with client.chat.completions.stream(**asked) as gathering:
        gathered = gathering.get_final_completion().choices[0]
    assert gathered.finish_reason == "tool_calls"
    (streamed,) = gathered.message.tool_calls or ()
    assert streamed.function.name == "look"
    assert streamed.function.arguments == call.function.arguments
    turns = [
        *question(),
        whole.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Seen."},
    ]
    again = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=4)  # type: ignore[arg-type]
    assert again.choices[0].message.content
