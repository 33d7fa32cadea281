"""What /v1 refuses: each wrong field by its name, in OpenAI's form, and the server goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openai import OpenAI
from PIL import Image
from werkzeug.test import TestResponse

from chat_kit import CHAT, JSON, MODEL, chat_body, data_uri, image_part, question, text_part
from routes.openai_body import MAX_VALUES
from routes.openai_errors import MAX_BODY_BYTES
from routes.openai_images import MAX_IMAGES
from routes.openai_schema import MAX_MESSAGES, MAX_PARTS
from vlm.images import MAX_IMAGE_BYTES
from vlm.prompts import CHAT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT
from web_client import picture


@pytest.fixture
def web(web_app: Flask) -> Iterator[FlaskClient]:
    """A client of the application; the server must go on answering whatever it was sent."""
    client = web_app.test_client()
    yield client
    answer = client.post(CHAT, json=chat_body(max_tokens=1))
    assert answer.status_code == 200, answer.text


def assert_refused(
    answer: TestResponse, status: int, code: str, param: str | None = None, words: str = ""
) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.get_json()) == {"error"}
    error = answer.get_json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert (error["code"], error["param"]) == (code, param)
    assert len(error["message"]) > 10
    assert words in error["message"]


def refused_content(web: FlaskClient, *parts: object) -> TestResponse:
    body = chat_body(messages=[{"role": "user", "content": [*parts]}])
    return web.post(CHAT, json=body)


URL = "messages[0].content[0].image_url.url"


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
    answer = refused_content(web, part)
    assert_refused(answer, 400, code, f"messages[0].content[0].{param}")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a.png",
        "https://example.org/a.png",
        "file:///etc/passwd",
        "a.png",
        "",
        "data:image/png,plain",
    ],
)
def test_no_address_is_ever_fetched(web: FlaskClient, url: str) -> None:
    answer = refused_content(web, {"type": "image_url", "image_url": {"url": url}})
    assert_refused(answer, 400, "invalid_value", URL, "not fetched")


@pytest.mark.parametrize("data", ["!", "AAA", "AA AA", "AA\nAA", "AA-_", "AAAA=", "\uff21" * 4])
def test_a_data_uri_that_is_not_base64_is_refused(web: FlaskClient, data: str) -> None:
    url = f"data:image/png;base64,{data}"
    answer = refused_content(web, {"type": "image_url", "image_url": {"url": url}})
    assert_refused(answer, 400, "invalid_base64", URL)


def gigantic() -> bytes:
    out = io.BytesIO()
    Image.new("1", (8000, 8000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 400, "bad_image", id="empty"),
        pytest.param(b"hello, world", 400, "bad_image", id="not an image"),
        pytest.param(picture("PNG")[:-40], 400, "bad_image", id="truncated"),
        pytest.param(picture("GIF"), 400, "unsupported_image", id="GIF"),
        pytest.param(gigantic(), 413, "image_too_large", id="too many pixels"),
        pytest.param(bytes(MAX_IMAGE_BYTES + 1), 413, "image_too_large", id="a byte too many"),
    ],
)
def test_what_is_not_a_picture_we_take_is_refused(
    web: FlaskClient, data: bytes, status: int, code: str
) -> None:
    assert_refused(refused_content(web, image_part(data)), status, code, URL)


def test_the_wrong_one_of_several_images_is_named(web: FlaskClient) -> None:
    answer = refused_content(web, text_part("Compare:"), image_part(), image_part(b"nothing"))
    assert_refused(answer, 400, "bad_image", "messages[0].content[2].image_url.url")


def test_too_many_images_are_refused(web: FlaskClient) -> None:
    answer = refused_content(web, *[image_part()] * (MAX_IMAGES + 1))
    named = f"messages[0].content[{MAX_IMAGES}].image_url.url"
    assert_refused(answer, 400, "too_many_images", named, str(MAX_IMAGES))
    answer = refused_content(web, *[image_part()] * 200)
    assert_refused(answer, 400, "invalid_value", "messages[0].content", str(MAX_PARTS))


def test_too_many_pixels_together_are_refused(web: FlaskClient) -> None:
    large = image_part(picture(size=(2048, 2048)))
    answer = refused_content(web, *[large] * 5)
    named = "messages[0].content[4].image_url.url"
    assert_refused(answer, 413, "image_too_large", named, "together")


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


def with_number(text: str) -> bytes:
    return json.dumps(chat_body(temperature=0.25)).replace("0.25", text).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "JSON", id="empty"),
        pytest.param(b"{", "JSON", id="cut off"),
        pytest.param(b"model=nano", "JSON", id="a form"),
        pytest.param(b"{'model': 'nano'}", "JSON", id="Python"),
        pytest.param(b'{"model": "nano"} {}', "JSON", id="two of them"),
        pytest.param(b'{"model": "\xff"}', "UTF-8", id="Latin-1"),
        pytest.param(json.dumps(chat_body()).encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", "JSON", id="a byte order mark"),
        pytest.param(b"[" * 10_000, "deep", id="arrays in arrays"),
        pytest.param(b'{"a":' * 10_000, "deep", id="objects in objects"),
        pytest.param(b"[" + b"0," * MAX_VALUES + b"0]", "values", id="many values"),
        pytest.param(with_number("NaN"), "NaN", id="NaN"),
        pytest.param(with_number("-Infinity"), "Infinity", id="-Infinity"),
        pytest.param(with_number("9" * 5000), "digits", id="many digits"),
    ],
)
def test_a_body_that_is_not_plain_json_is_refused(
    web: FlaskClient, body: bytes, words: str
) -> None:
    assert_refused(web.post(CHAT, data=body, headers=JSON), 400, "invalid_json", None, words)


def test_a_number_past_all_bounds_is_no_temperature(web: FlaskClient) -> None:
    answer = web.post(CHAT, data=with_number("1e999"), headers=JSON)
    assert_refused(answer, 400, "invalid_value", "temperature", "finite")


def test_a_name_that_is_there_twice_is_refused(web: FlaskClient) -> None:
    body = json.dumps(chat_body()).replace('"max_tokens"', '"max_tokens": 1, "max_tokens"')
    answer = web.post(CHAT, data=body, headers=JSON)
    assert_refused(answer, 400, "invalid_json", "max_tokens", "more than once")


@pytest.mark.parametrize("body", [b"5", b"[]", b'"model"', b"null"])
def test_json_that_is_no_object_is_refused(web: FlaskClient, body: bytes) -> None:
    answer = web.post(CHAT, data=body, headers=JSON)
    assert_refused(answer, 400, "invalid_type", "body", "object")


def test_text_that_is_no_unicode_is_refused(web: FlaskClient) -> None:
    answer = web.post(CHAT, data=with_text('"\\ud800"'), headers=JSON)
    assert_refused(answer, 400, "invalid_value", "messages[0].content")


def with_text(literal: str) -> bytes:
    body = chat_body(messages=[{"role": "user", "content": "?"}])
    return json.dumps(body).replace('"?"', literal).encode()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(web: FlaskClient, content_type: str) -> None:
    body = json.dumps(chat_body())
    answer = web.post(CHAT, data=body, headers={"Content-Type": content_type})
    assert_refused(answer, 415, "unsupported_media_type", None, "application/json")


def test_a_body_too_large_is_refused(web: FlaskClient) -> None:
    body = b'"' + b"a" * MAX_BODY_BYTES + b'"'
    answer = web.post(CHAT, data=body, headers=JSON)
    assert_refused(answer, 413, "request_too_large", None, f"{MAX_BODY_BYTES // 2**20} MiB")


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
