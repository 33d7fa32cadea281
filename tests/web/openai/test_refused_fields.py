"""What /v1 refuses: each wrong field by its name, in OpenAI's form, and the server goes on."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from chat_kit import CHAT, MODEL, assert_refused, chat_body, data_uri, image_part, question
from vlm.prompts import CHAT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT
from web.openai.schema import MAX_MESSAGES


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("temperature", -0.1, "invalid_value"),
        ("temperature", 2.1, "invalid_value"),
        ("temperature", "1", "invalid_type"),
        ("temperature", True, "invalid_type"),
        ("top_p", 0, "invalid_value"),
        ("top_p", 1.01, "invalid_value"),
        ("seed", 1.5, "invalid_type"),
        ("seed", 2**63, "invalid_value"),
        ("max_tokens", 0, "invalid_value"),
        ("max_tokens", MAX_TOKENS_LIMIT + 1, "invalid_value"),
        ("max_tokens", 10**400, "invalid_value"),
        ("max_tokens", "4", "invalid_type"),
        ("max_completion_tokens", -1, "invalid_value"),
        ("stop", ["a", "b", "c", "d", "e"], "invalid_value"),
        ("stop", "", "invalid_value"),
        ("stop", 5, "invalid_type"),
        ("stream", "yes", "invalid_type"),
        ("stream_options", [], "invalid_type"),
        ("logprobs", 3, "invalid_type"),
        ("top_logprobs", 21, "invalid_value"),
        ("top_logprobs", 2, "invalid_value"),
        ("user", "x" * 257, "invalid_value"),
        ("user", 7, "invalid_type"),
        ("model", "", "invalid_value"),
        ("model", None, "invalid_type"),
        ("messages", [], "invalid_value"),
        ("messages", {}, "invalid_type"),
        ("messages", [{"role": "user", "content": "a"}] * (MAX_MESSAGES + 1), "invalid_value"),
    ],
)
def test_a_field_out_of_its_range_is_refused_by_name(
    web: FlaskClient, field: str, value: object, code: str
) -> None:
    assert_refused(web.post(CHAT, json=chat_body(**{field: value})), 400, code, field, f"`{field}`")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("frequency_penalty", 0.1),
        ("presence_penalty", -1),
        ("logit_bias", {"5": 1}),
        ("tools", [{"type": "function", "function": {"name": "look"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "look"}]),
        ("function_call", {"name": "look"}),
        ("audio", {"voice": "alloy", "format": "mp3"}),
        ("modalities", ["text", "audio"]),
        ("web_search_options", {}),
        ("verbosity", "high"),
        ("store", True),
    ],
)
def test_what_is_not_done_here_is_refused_rather_than_ignored(
    web: FlaskClient, field: str, value: object
) -> None:
    answer = web.post(CHAT, json=chat_body(**{field: value}))
    param = answer.get_json()["error"]["param"]
    assert param.partition("[")[0] == field
    assert_refused(answer, 400, "unsupported_value", param, "cannot be used here")


def test_a_json_schema_is_refused(web: FlaskClient) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "scene", "schema": {}}}
    answer = web.post(CHAT, json=chat_body(response_format=form))
    assert_refused(answer, 400, "invalid_value", "response_format.type", "json_object")


def test_a_field_that_is_not_known_is_refused(web: FlaskClient) -> None:
    answer = web.post(CHAT, json=chat_body(max_token=5))
    assert_refused(answer, 400, "unknown_parameter", "max_token")


@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_field_that_is_missing_is_told(web: FlaskClient, field: str) -> None:
    body = chat_body()
    del body[field]
    assert_refused(web.post(CHAT, json=body), 400, "missing_required_parameter", field)


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("a", "invalid_type", "messages[0]"),
        ({"content": "a"}, "missing_required_parameter", "messages[0].role"),
        ({"role": "tool", "content": "a"}, "invalid_value", "messages[0].role"),
        ({"role": "user"}, "missing_required_parameter", "messages[0].content"),
        ({"role": "user", "content": 5}, "invalid_type", "messages[0].content"),
        ({"role": "user", "content": {}}, "invalid_type", "messages[0].content"),
        ({"role": "user", "content": []}, "invalid_value", "messages[0].content"),
        ({"role": "user", "content": "a\x00"}, "invalid_value", "messages[0].content"),
        ({"role": "user", "content": "a", "mood": 1}, "unknown_parameter", "messages[0].mood"),
        ({"role": "user", "content": ["a"]}, "invalid_type", "messages[0].content[0]"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
            "invalid_value",
            "messages[0].content[0].type",
        ),
        (
            {"role": "assistant", "content": "a", "tool_calls": [{}]},
            "invalid_value",
            "messages[0].tool_calls",
        ),
    ],
)
def test_a_malformed_message_is_refused_by_name(
    web: FlaskClient, message: object, code: str, param: str
) -> None:
    answer = web.post(CHAT, json=chat_body(messages=[message]))
    assert_refused(answer, 400, code, param, f"`{param}`")


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        ({}, "missing_required_parameter", "type"),
        ({"type": "input_audio"}, "invalid_value", "type"),
        ({"type": "text"}, "missing_required_parameter", "text"),
        ({"type": "text", "text": 5}, "invalid_type", "text"),
        ({"type": "image_url"}, "missing_required_parameter", "image_url"),
        ({"type": "image_url", "image_url": data_uri()}, "invalid_type", "image_url"),
        ({"type": "image_url", "image_url": {}}, "missing_required_parameter", "image_url.url"),
        (image_part(detail="medium"), "invalid_value", "image_url.detail"),
    ],
)
def test_a_malformed_part_is_refused_by_name(
    web: FlaskClient, part: object, code: str, param: str
) -> None:
    body = chat_body(messages=[{"role": "user", "content": [part]}])
    answer = web.post(CHAT, json=body)
    assert_refused(answer, 400, code, f"messages[0].content[0].{param}")


def test_a_prompt_of_a_megabyte_is_refused(web: FlaskClient) -> None:
    body = chat_body(messages=[{"role": "user", "content": "x" * 10**6}])
    named = "messages[0].content"
    assert_refused(web.post(CHAT, json=body), 400, "invalid_value", named, str(CHAT_MAX_CHARS))


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_has_no_room_for_is_refused(web: FlaskClient, stream: bool) -> None:
    messages = question(text="word " * (CHAT_MAX_CHARS // 5))
    answer = web.post(CHAT, json=chat_body(messages=messages, stream=stream))
    assert_refused(answer, 400, "bad_request", "messages", "shorter")


@pytest.mark.parametrize("name", ["gpt-4o", "HuggingFaceTB/SmolVLM-Instruct", "nano\n"])
def test_a_model_that_is_not_served_is_not_found(web: FlaskClient, name: str) -> None:
    answer = web.post(CHAT, json=chat_body(model=name))
    assert_refused(answer, 404, "model_not_found", "model", MODEL)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("GET", "/v1/embeddings", 404, "not_found"),
        ("POST", "/v1/completions", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/nano", 405, "method_not_allowed"),
    ],
)
def test_where_nothing_is_the_error_has_the_same_form(
    web: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    assert_refused(web.open(path, method=method), status, code)


def test_another_host_name_is_refused_in_the_same_form(web: FlaskClient) -> None:
    answer = web.get("/v1/models", headers={"Host": "evil.example"})
    assert_refused(answer, 403, "forbidden")


def create(client: OpenAI, **fields: Any) -> object:
    return client.chat.completions.create(**chat_body(**fields))


def test_the_client_knows_the_errors_by_its_own_names(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        create(client, temperature=3)
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    assert bad.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError) as missing:
        create(client, model="gpt-4o")
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="words")
