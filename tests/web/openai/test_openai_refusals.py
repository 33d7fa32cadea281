"""Invalid requests under /v1: each is refused by the name of its field, in OpenAI's form."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import openai
import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from PIL import Image

from chat_kit import (
    CHAT,
    JSON,
    MODEL,
    assert_refused,
    chat_body,
    image_part,
    question,
    text_part,
)
from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.prompts import CHAT_MAX_CHARS
from web.chats.fields import MAX_MESSAGES, MAX_PARTS, MAX_STOPS
from web.chats.images import MAX_IMAGES
from web.chats.json_body import MAX_DEPTH, MAX_VALUES
from web.errors import MAX_BODY_BYTES
from web_client import picture

URL = "messages[0].content[0].image_url.url"
MISSING = "missing_required_parameter"


class Case(NamedTuple):
    body: Any
    code: str
    param: str | None
    words: str = ""
    status: int = 400


def field(
    name: str, value: object, code: str = "invalid_value", step: str = "", words: str = ""
) -> Case:
    return Case(chat_body(**{name: value}), code, name + step, words or f"`{name}{step}`")


def tool(name: str, parameters: object = None) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def unsupported(name: str, value: object, step: str = "") -> Case:
    return Case(chat_body(**{name: value}), "unsupported_value", name + step, "cannot be used here")


def message(value: object, code: str, step: str = "", words: str = "") -> Case:
    param = f"messages[0]{step}"
    return Case(chat_body(messages=[value]), code, param, words or f"`{param}`")


def content(*parts: object) -> dict[str, object]:
    return chat_body(messages=[{"role": "user", "content": [*parts]}])


def part(value: object, code: str, step: str) -> Case:
    return Case(content(value), code, f"messages[0].content[0].{step}")


def url(value: str, code: str = "invalid_value", words: str = "not fetched") -> Case:
    return Case(content({"type": "image_url", "image_url": {"url": value}}), code, URL, words)


def image(data: bytes, code: str, status: int = 400) -> Case:
    return Case(content(image_part(data)), code, URL, status=status)


def invalid_json(body: bytes, words: str = "JSON") -> Case:
    return Case(body, "invalid_json", None, words)


def with_number(text: str) -> bytes:
    return json.dumps(chat_body(temperature=0.25)).replace("0.25", text).encode()


def gigantic() -> bytes:
    out = io.BytesIO()
    Image.new("1", (8000, 8000)).save(out, "PNG")
    return out.getvalue()


def without(name: str) -> Case:
    return Case({k: v for k, v in chat_body().items() if k != name}, MISSING, name, "missing")


def cases() -> Iterator[Case]:
    """Yield one case for each kind of mistake."""
    # Bodies that are not plain JSON, or JSON but not an object.
    for body in (b"", b"{", b"model=nano", b"{'model': 'nano'}", b'{"model": "nano"} {}'):
        yield invalid_json(body)
    yield invalid_json(b'{"model": "\xff"}', "UTF-8")
    yield invalid_json(json.dumps(chat_body()).encode("utf-16"), "UTF-8")
    yield invalid_json(b"\xef\xbb\xbf{}")
    # Each Python's parser has another bound of its own.
    for depth in (MAX_DEPTH + 1, 2_000, MAX_VALUES):
        yield invalid_json(b"[" * depth + b"]" * depth, "deep")
        yield invalid_json(b'{"a":' * depth + b"1" + b"}" * depth, "deep")
    yield invalid_json(b"[" + b"0," * MAX_VALUES + b"0]", "commas")
    yield invalid_json(with_number("NaN"), "NaN")
    yield invalid_json(with_number("-Infinity"), "Infinity")
    yield invalid_json(with_number("9" * 5000), "digits")
    yield Case(with_number("1e999"), "invalid_value", "temperature", "finite")
    twice = json.dumps(chat_body()).replace('"max_tokens"', '"max_tokens": 1, "max_tokens"')
    yield Case(twice.encode(), "invalid_json", "max_tokens", "more than once")
    for body in (b"5", b"[]", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b'"model"', b"null"):
        yield Case(body, "invalid_type", "body", "object")
    too_large = b'"' + b"a" * MAX_BODY_BYTES + b'"'
    yield Case(too_large, "request_too_large", None, f"{MAX_BODY_BYTES // 2**20} MiB", 413)

    # Fields that are missing, unknown, of a wrong type or out of range.
    yield without("messages")
    for value in (-0.1, 2.1):
        yield field("temperature", value)
    for value in ("1", True):
        yield field("temperature", value, "invalid_type")
    for value in (-0.1, 1.01):
        yield field("top_p", value)
    for name, value in (
        ("top_k", -2),
        ("min_p", 1.1),
        ("repetition_penalty", 0),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
    ):
        yield field(name, value)
    yield field("logit_bias", {"5": 101}, step=".5")
    yield field("logit_bias", {"cat": 1}, step=".cat")
    yield field("logit_bias", {"9999999": 1}, "bad_request", words="tokens")
    yield field("seed", 1.5, "invalid_type")
    yield field("seed", 2**63)
    for value in (0, -2):
        yield field("max_tokens", value)
    yield field("max_tokens", "4", "invalid_type")
    yield field("max_tokens", 4.5, "invalid_type")
    yield field("max_completion_tokens", 0)
    for value in (["a"] * (MAX_STOPS + 1), ""):
        yield field("stop", value)
    yield field("stop", 5, "invalid_type")
    yield field("stream", "yes", "invalid_type")
    yield field("stream_options", [], "invalid_type")
    yield field("logprobs", 3, "invalid_type")
    for value in (21, 2):
        yield field("top_logprobs", value)
    yield field("user", "x" * 257)
    yield field("user", 7, "invalid_type")
    yield field("model", 5, "invalid_type")
    yield field("messages", [])
    yield field("messages", {}, "invalid_type")
    yield field("messages", [{"role": "user", "content": "a"}] * (MAX_MESSAGES + 1))
    yield field("response_format", {"type": "grammar"}, "invalid_value", ".type")
    schema: dict[str, Any] = {"type": "json_schema"}
    yield field("response_format", schema, MISSING, ".json_schema")
    schema["json_schema"] = {"name": "scene"}
    yield field("response_format", schema, MISSING, ".json_schema.schema")
    yield field("guided_json", "{", "invalid_value")
    yield field("guided_choice", [])
    for value in ("(a", "\ud800"):
        yield field("guided_regex", value, words="refused")
    yield field("structured_outputs", {"choice": []}, step=".choice")
    two = chat_body(guided_regex="a", guided_choice=["a"])
    yield Case(two, "unsupported_value", "guided_choice", "one form")
    # What answers cannot keep to, by its keyword.
    for keyword, value in (
        ("not", {"type": "string"}),
        ("if", {"type": "string"}),
        ("contains", {"type": "string"}),
        ("propertyNames", {"pattern": "a"}),
        ("dependentRequired", {"a": ["b"]}),
        ("unevaluatedItems", False),
        ("pattern", "(?=a)b"),
        ("$ref", "https://example.org/x"),
        ("$ref", "#/$defs/none"),
        ("multipleOf", 0),
        ("multipleOf", -1),
        ("multipleOf", 10_007),
    ):
        of_a = {"type": "object", "properties": {"a": {keyword: value}}}
        asked = {"type": "json_schema", "json_schema": {"name": "scene", "schema": of_a}}
        param = "response_format.json_schema.schema"
        yield Case(chat_body(response_format=asked), "invalid_value", param, f"`{keyword}`")
    long = {"type": "object", "properties": {"a": {"pattern": "a"}, "b": {"maxLength": 50_001}}}
    yield Case(chat_body(json_schema=long), "invalid_value", "json_schema", "`maxLength`")
    for name, value in (("enum", [-(2**62) - 1]), ("const", {"a": -5e18})):
        asked = {"type": "json_object", "schema": {name: value}}
        words, param = "No number below", "response_format.schema"
        yield Case(chat_body(response_format=asked), "invalid_value", param, words)
    forced = chat_body(tools=[tool("look", {"not": {}})], tool_choice="required")
    yield Case(forced, "invalid_value", "tools[0].function.parameters", "`not`")

    # Parameters that are not supported, with a value that asks for something.
    yield unsupported("n", 2)
    tools = [tool("look"), tool("listen")]
    for choice in ("required", {"type": "allowed_tools", "allowed_tools": {}}):
        body = chat_body(tools=tools, tool_choice=choice)
        yield Case(body, "unsupported_value", "tool_choice")
    other = {"type": "function", "function": {"name": "smell"}}
    yield Case(chat_body(tools=tools, tool_choice=other), "invalid_value", "tool_choice")
    for nameless in ({"type": "custom"}, tool(""), tool("\ud800")):
        body = chat_body(tools=[nameless], tool_choice="required")
        yield Case(body, "invalid_value", "tools[0].function.name")
    for name in ("guided_grammar", "grammar", "ebnf"):
        yield unsupported(name, "a")
    yield unsupported("structured_outputs", {"grammar": "a"}, ".grammar")
    yield unsupported("function_call", {"name": "look"})
    yield unsupported("audio", {"voice": "alloy", "format": "mp3"})
    yield unsupported("modalities", ["text", "audio"], "[1]")

    # Messages and their parts.
    yield message("a", "invalid_type")
    yield message({"content": "a"}, MISSING, ".role")
    yield message({"role": "narrator", "content": "a"}, "invalid_value", ".role")
    yield message({"role": "user"}, MISSING, ".content")
    for value in (5, {}):
        yield message({"role": "user", "content": value}, "invalid_type", ".content")
    for value in ("a\ufffd", "\ud800"):
        yield message({"role": "user", "content": value}, "invalid_value", ".content")
    long = {"role": "user", "content": "x" * 10**6}
    yield message(long, "invalid_value", ".content", str(CHAT_MAX_CHARS))
    yield message({"role": "user", "content": ["a"]}, "invalid_type", ".content[0]")
    called = {"role": "assistant", "content": "a", "tool_calls": [5]}
    yield message(called, "invalid_type", ".tool_calls[0]")
    yield part({}, MISSING, "type")
    yield part({"type": "input_audio"}, "invalid_value", "type")
    yield part({"type": "text"}, MISSING, "text")
    yield part({"type": "text", "text": 5}, "invalid_type", "text")
    yield part({"type": "text", "text": "a\ufffd"}, "invalid_value", "text")
    yield part({"type": "image_url"}, MISSING, "image_url")
    yield part({"type": "input_image", "file_id": "file-1"}, MISSING, "image_url")
    yield part({"type": "image_url", "image_url": {}}, MISSING, "image_url.url")

    # Images: addresses, which are never fetched; not base64; not an image; too large; too many.
    for value in ("http://127.0.0.1:9/a.png", "https://example.org/a.png", "file:///etc/passwd"):
        yield url(value)
    for value in ("a.png", "", "data:image/png,plain"):
        yield url(value)
    for value in ("!", "A", "AA=A", "\uff21" * 4):
        yield url(f"data:image/png;base64,{value}", "invalid_base64", "base64")
    address = {"type": "image_url", "image_url": "https://example.org/a.png"}
    param = "messages[0].content[0].image_url"
    yield Case(content(address), "invalid_value", param, "not fetched")
    for data in (b"", b"hello, world", picture("PNG")[:-40]):
        yield image(data, "bad_image")
    yield image(picture("GIF"), "unsupported_image")
    yield image(gigantic(), "image_too_large", 413)
    yield image(bytes(MAX_IMAGE_BYTES + 1), "image_too_large", 413)
    third = "messages[0].content[2].image_url.url"
    yield Case(content(text_part("Compare:"), image_part(), image_part(b"-")), "bad_image", third)
    param = f"messages[0].content[{MAX_IMAGES}].image_url.url"
    many = content(*[image_part()] * (MAX_IMAGES + 1))
    yield Case(many, "too_many_images", param, str(MAX_IMAGES))
    parts = content(*[image_part()] * (MAX_PARTS + 1))
    yield Case(parts, "invalid_value", "messages[0].content", str(MAX_PARTS))
    param = "messages[0].content[4].image_url.url"
    large = content(*[image_part(picture(size=(2048, 2048)))] * 5)
    yield Case(large, "image_too_large", param, "together", 413)


def test_each_mistake_is_refused_by_its_field(web: FlaskClient) -> None:
    for case in cases():
        data = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        answer = web.post(CHAT, data=data, headers=JSON)
        assert_refused(answer, case.status, case.code, case.param, case.words)


def test_only_json_is_accepted(web: FlaskClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        body = json.dumps(chat_body())
        answer = web.post(CHAT, data=body, headers={"Content-Type": content_type})
        assert_refused(answer, 415, "unsupported_media_type", None, "application/json")


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_longer_than_the_context_is_refused(web: FlaskClient, stream: bool) -> None:
    messages = question(text="word " * (CHAT_MAX_CHARS // 5))
    answer = web.post(CHAT, json=chat_body(messages=messages, stream=stream))
    assert_refused(answer, 400, "bad_request", "messages", "shorter")


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_text_is_told_as_what_it_is(
    web: FlaskClient, stops: frozenset[int], stream: bool
) -> None:
    text = web.post(CHAT, json=chat_body()).get_json()["choices"][0]["message"]["content"]
    schema = {"type": "object"}
    asked = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
    for fields in (
        {"stop": text[0]},
        {"stop": [text[:2], "?"]},
        {"stop": "{", "response_format": asked},
    ):
        answer = web.post(CHAT, json=chat_body(stream=stream, **fields))
        assert_refused(answer, 422, "empty_answer", "stop", "begins with")
    cut = web.post(CHAT, json=chat_body(max_tokens=1, stop="no such words"))
    assert cut.get_json()["choices"][0]["finish_reason"] == "length"
    # An expression may allow no text at all.
    nothing = web.post(CHAT, json=chat_body(guided_regex="b{0}"))
    assert nothing.get_json()["choices"][0]["message"]["content"] == ""
    end_id = min(stops)
    ended = chat_body(logit_bias={str(end_id): 100}, stream=stream)
    assert_refused(web.post(CHAT, json=ended), 422, "empty_answer", "messages", "before the first")


def test_errors_of_the_whole_api_have_one_form(web: FlaskClient) -> None:
    for method, path, status, code in (
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("GET", "/v1/embeddings", 405, "method_not_allowed"),
        ("POST", "/v1/completions", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/nano", 405, "method_not_allowed"),
    ):
        assert_refused(web.open(path, method=method), status, code)
    answer = web.get("/v1/models", headers={"Host": "evil.example"})
    assert_refused(answer, 403, "forbidden")


def test_the_openai_client_raises_its_own_error_classes(client: OpenAI) -> None:
    def create(**fields: Any) -> object:
        return client.chat.completions.create(**chat_body(**fields))

    with pytest.raises(openai.BadRequestError) as bad:
        create(temperature=3)
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    assert bad.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("gpt-4o")
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model=MODEL, prompt="words")
