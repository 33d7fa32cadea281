"""Answers that go on with the assistant's last message: `continue_final_message`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from test_forms import JSON_SCHEMA, TOOL, fits

from chat_kit import CHAT, MODEL, assert_refused, image_part, question

USER = question(text="Describe this image.")[0]


def begun(text: Any) -> list[dict[str, Any]]:
    return [USER, {"role": "assistant", "content": text}]


def answer(web: FlaskClient, **fields: Any) -> Any:
    response = web.post(CHAT, json={"messages": [USER], **fields})
    assert response.status_code == 200, response.text
    return response.get_json()["choices"][0]


def test_the_answer_goes_on_where_the_last_message_ends(web: FlaskClient) -> None:
    whole = answer(web)["message"]["content"]
    words = whole.split(" ")
    assert len(words) > 3
    for count in (1, len(words) // 2, len(words) - 1):
        text = " ".join(words[:count])
        for fields in ({}, {"temperature": 1, "top_k": 1}):
            asked = {"messages": begun(text), "continue_final_message": True, **fields}
            assert text + answer(web, **asked)["message"]["content"] == whole


def test_it_streams_from_the_first_new_character(client: OpenAI) -> None:
    asked: Any = {
        "model": MODEL,
        "messages": begun([{"type": "text", "text": "The"}]),
        "extra_body": {"continue_final_message": True, "add_generation_prompt": False},
        "max_tokens": 6,
    }
    whole = client.chat.completions.create(**asked).choices[0].message.content
    assert whole is not None and whole.startswith(" ")
    with client.chat.completions.create(**asked, stream=True) as chunks:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_without_the_fields_the_answer_is_a_new_turn(web: FlaskClient) -> None:
    new = answer(web, messages=begun("The"), max_tokens=4)
    same = answer(
        web, messages=begun("The"), add_generation_prompt=True, continue_final_message=False,
        max_tokens=4,
    )  # fmt: skip
    assert new["message"] == same["message"]
    assert not new["message"]["content"].startswith(" ")


def test_a_form_holds_for_the_whole_text(web: FlaskClient) -> None:
    for start in ('{"colour":', '{"colour": "re', '{"colour": "green", "count": 2, '):
        asked = {"messages": begun(start), "continue_final_message": True}
        fits(start + answer(web, **asked, response_format=JSON_SCHEMA)["message"]["content"])
    free = answer(
        web, messages=begun('{"a": 1, "b'), continue_final_message=True, max_tokens=200,
        response_format={"type": "json_object"},
    )  # fmt: skip
    if free["finish_reason"] == "stop":
        assert json.loads('{"a": 1, "b' + free["message"]["content"])["a"] == 1


CONTINUE = {"continue_final_message": True}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({**CONTINUE, "messages": begun("A"), "add_generation_prompt": True}, "starts a new turn"),
    ({**CONTINUE}, "must be the assistant's"),
    ({**CONTINUE, "messages": begun([image_part()])}, "must end with a text"),
    (
        {**CONTINUE, "messages": begun("A"), "tools": [TOOL], "tool_choice": "required"},
        "is a new turn",
    ),
]


def test_what_cannot_be_continued_is_refused(web: FlaskClient) -> None:
    for fields, words in REFUSED:
        refused = web.post(CHAT, json={"messages": [USER], **fields})
        assert_refused(refused, 400, "invalid_value", "continue_final_message", words)


@pytest.mark.parametrize("start", ["Here is the JSON: ", '{"count"', '{ "colour": "red"'])
def test_a_text_that_no_answer_of_the_form_begins_with_is_refused(
    web: FlaskClient, start: str
) -> None:
    asked = {**CONTINUE, "messages": begun(start), "response_format": JSON_SCHEMA}
    refused = web.post(CHAT, json=asked)
    assert_refused(refused, 400, "bad_request", "response_format", "not the beginning")
