"""What /v1 refuses of pictures: what is none, too large, too many, or would have to be fetched."""

from __future__ import annotations

import io

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from chat_kit import CHAT, assert_refused, chat_body, image_part, text_part
from vlm.images.decode import MAX_IMAGE_BYTES
from web.openai.body import MAX_IMAGES
from web.openai.schema import MAX_PARTS
from web_client import picture

URL = "messages[0].content[0].image_url.url"


def refused_content(web: FlaskClient, *parts: object) -> TestResponse:
    body = chat_body(messages=[{"role": "user", "content": [*parts]}])
    return web.post(CHAT, json=body)


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
