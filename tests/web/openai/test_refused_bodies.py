"""What /v1 refuses before it looks at a field: bodies that are no JSON, too deep or too large."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from chat_kit import CHAT, JSON, assert_refused, chat_body
from web.errors import MAX_BODY_BYTES
from web.openai.body import MAX_VALUES


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
        pytest.param(b"[" + b"0," * MAX_VALUES + b"0]", "commas", id="many values"),
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
