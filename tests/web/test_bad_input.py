"""Each bad input gets a status and words to act on, and the server goes on captioning."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.prompts import PROMPT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT
from web.caption_fields import CAMERA_MAX_CHARS
from web_client import JPEG, picture, read_events

TURN = {"question": "Is there a dog?", "answer": "Yes."}

ANY = {"Content-Type": "application/octet-stream"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
IMAGE_PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\n'


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


def png_bomb(width_px: int, height_px: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be far larger."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000), 9)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + end


def rotated_by_exif() -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.linear_gradient("L").convert("RGB").resize((64, 32)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def assert_refused(answer: TestResponse, status: int, code: str, words: str = "") -> None:
    assert answer.status_code == status, answer.text
    error = answer.get_json()["error"]
    assert error["code"] == code
    assert len(error["message"]) > 10
    assert words in error["message"]
    assert "Traceback" not in answer.text


def assert_captions(client: FlaskClient, data: bytes = b"") -> None:
    answer = client.post("/api/captions?max_tokens=2", data=data or picture(), headers=ANY)
    assert answer.status_code == 200, answer.text
    assert read_events(answer.text)[-1][0] == "done"


JPEG_XL = b"\xff\x0a" + bytes(64)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 400, "bad_image", id="empty"),
        pytest.param(b"hello, world", 400, "bad_image", id="not an image"),
        pytest.param(b"\xff\xd8\xff", 400, "bad_image", id="only the magic of a JPEG"),
        pytest.param(picture()[:-200], 400, "bad_image", id="truncated JPEG"),
        pytest.param(picture("PNG")[:-40], 400, "bad_image", id="truncated PNG"),
        pytest.param(picture("GIF"), 415, "unsupported_image", id="GIF"),
        pytest.param(picture("TIFF"), 415, "unsupported_image", id="TIFF"),
        pytest.param(picture("BMP"), 415, "unsupported_image", id="BMP"),
        pytest.param(SVG, 415, "unsupported_image", id="SVG"),
        pytest.param(JPEG_XL, 415, "unsupported_image", id="JPEG XL"),
        pytest.param(png_bomb(60_000, 60_000), 413, "image_too_large", id="PNG bomb"),
    ],
)
def test_what_is_not_a_picture_we_take_is_refused(
    client: FlaskClient, data: bytes, status: int, code: str
) -> None:
    assert_refused(client.post("/api/captions", data=data, headers=ANY), status, code)
    assert_captions(client)


@pytest.mark.parametrize(
    ("extra_bytes", "code", "words"),
    [
        (1, "image_too_large", "The image has more than 16 MiB"),
        (1_000_000, "image_too_large", "The image has more than 16 MiB"),
        (20 * 2**20, "form_too_large", "The form has more than 18 MiB"),
    ],
)
def test_too_many_bytes_are_refused(
    client: FlaskClient, extra_bytes: int, code: str, words: str
) -> None:
    data = picture() + bytes(MAX_IMAGE_BYTES + extra_bytes)
    answer = client.post("/api/captions", data=data, headers=JPEG)
    assert_refused(answer, 413, "image_too_large", "The image has more than 16 MiB")
    upload = IMAGE_PART + data + b"\r\n--b--\r\n"
    answer = client.post("/api/captions", data=upload, headers=MULTIPART)
    assert_refused(answer, 413, code, words)
    assert_captions(client)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(picture(size=(1, 1)), id="1x1"),
        pytest.param(picture(size=(8000, 10)), id="8000x10"),
        pytest.param(picture(size=(10, 8000)), id="10x8000"),
        pytest.param(picture(mode="CMYK"), id="CMYK"),
        pytest.param(picture(mode="L"), id="grey"),
        pytest.param(picture("PNG", mode="I;16"), id="16-bit grey"),
        pytest.param(picture("PNG", mode="LA"), id="grey with alpha"),
        pytest.param(picture("PNG", mode="RGBA"), id="alpha"),
        pytest.param(picture("PNG", mode="1"), id="black and white"),
        pytest.param(rotated_by_exif(), id="rotated by EXIF"),
    ],
)
def test_odd_pictures_are_captioned(client: FlaskClient, data: bytes) -> None:
    assert_captions(client, data)


def test_a_palette_with_alpha_is_captioned(client: FlaskClient) -> None:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("P").save(out, "PNG", transparency=bytes(range(256)))
    assert_captions(client, out.getvalue())


@pytest.mark.parametrize("value", ["0", "-1", "x", str(10**9), "1.5", "1e1", "", "٣", "NaN"])
def test_max_tokens_out_of_range_is_refused(client: FlaskClient, value: str) -> None:
    query = {"max_tokens": value}
    answer = client.post("/api/captions", query_string=query, data=picture(), headers=JPEG)
    assert_refused(answer, 400, "bad_request", f"1 to {MAX_TOKENS_LIMIT}")
    assert_captions(client)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("prompt", "x" * (PROMPT_MAX_CHARS + 1), str(PROMPT_MAX_CHARS)),
        ("prompt", "x" * 1_000_000, str(PROMPT_MAX_CHARS)),
        ("prompt", "What\ufffdis this?", "not UTF-8"),
        ("prompt", "\ufffd", "UTF-8"),
        ("preset", "no-such-preset", "one of"),
        ("detail", "medium", "tiny, small, low, high"),
        ("detail", "", "tiny, small, low, high"),
        ("kind", "dead", "live, question"),
        ("kind", "", "live, question"),
        ("kind", "live", "`camera`"),
        ("turns", "", "a JSON list"),
        ("turns", "[" * 50_000, "a JSON list"),
        ("turns", "{}", "a JSON list"),
        ("turns", json.dumps([TURN] * 9), "at most 8"),
        ("turns", json.dumps([TURN, "x"]), "turns[1].question"),
        ("turns", json.dumps([{"question": "Why?"}]), "turns[0].answer"),
        ("turns", json.dumps([TURN | {"question": "x" * 2001}]), "2000"),
        ("turns", json.dumps([TURN | {"answer": "\ufffd"}]), "UTF-8"),
        ("camera", "", "letters"),
        ("camera", "x" * (CAMERA_MAX_CHARS + 1), str(CAMERA_MAX_CHARS)),
        ("camera", "../../etc", "letters"),
        ("camera", "a\nb", "letters"),
    ],
)
def test_a_malformed_field_is_refused_by_name(
    client: FlaskClient, field: str, value: str, words: str
) -> None:
    query = {field: value}
    answer = client.post("/api/captions", query_string=query, data=picture(), headers=JPEG)
    assert_refused(answer, 400, "bad_request", words)
    assert field in answer.get_json()["error"]["message"]
    assert_captions(client)


@pytest.mark.parametrize(
    ("query", "form", "field"),
    [
        ("max_tokens=2&max_tokens=x", {}, "max_tokens"),
        ("max_tokens=2", {"max_tokens": "x"}, "max_tokens"),
        ("prompt=What", {"prompt": "What\ufffdis this?"}, "prompt"),
        ("preset=count&prompt=%EF%BF%BD", {}, "prompt"),
        ("kind=question&kind=dead", {}, "kind"),
    ],
)
def test_a_wrong_value_is_refused_even_where_another_one_goes_before_it(
    client: FlaskClient, query: str, form: dict[str, str], field: str
) -> None:
    body = {**form, "image": (io.BytesIO(picture()), "frame.jpg")}
    answer = client.post(f"/api/captions?{query}", data=body)
    assert answer.status_code == 400
    assert field in answer.get_json()["error"]["message"].lower()


def test_a_long_form_field_is_refused(client: FlaskClient) -> None:
    form = {"prompt": "x" * 100_000, "image": (io.BytesIO(picture()), "frame.jpg")}
    answer = client.post("/api/captions", data=form)
    assert_refused(answer, 413, "form_too_large", "`prompt` has more than 64 KiB")
    assert_captions(client)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "image/jpg",
        "image/pjpeg",
        "image/x-png",
        "image/*",
        "image/gif",
        "binary/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json",
        "nonsense",
    ],
)
def test_the_content_decides_whether_a_body_is_a_picture(
    client: FlaskClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    for data in (picture(), picture("PNG"), picture("AVIF")):
        answer = client.post("/api/captions?max_tokens=1", data=data, headers=headers)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "nonsense"])
def test_a_body_of_another_kind_is_refused_by_its_type(
    client: FlaskClient, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    answer = client.post("/api/captions", data=b'{"a": 1}', headers=headers)
    assert_refused(answer, 415, "unsupported_media_type", "not a picture")
    assert_captions(client)


def test_a_file_in_any_field_is_the_picture_if_it_is_the_only_one(client: FlaskClient) -> None:
    def files(*names: str) -> dict[str, tuple[io.BytesIO, str]]:
        return {name: (io.BytesIO(picture()), f"{name}.jpg") for name in names}

    accepted = [files("file"), files("file", "image"), files("image", "other", "file")]
    for form in accepted:
        answer = client.post("/api/captions?max_tokens=1", data=form)
        assert answer.status_code == 200, answer.text
    answer = client.post("/api/captions", data=files("first", "second"))
    assert_refused(answer, 400, "bad_request", "`image`")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary here",
        IMAGE_PART.replace(b"\r\n", b"\n") + picture() + b"\n--b--\n",
        IMAGE_PART.replace(b"Content-Disposition", b"X") + picture() + b"\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=image\r\n\r\na text field\r\n--b--\r\n",
        IMAGE_PART.replace(b"image", b"picture") + b"x\r\n--b--\r\n",
    ],
)
def test_a_malformed_multipart_body_is_refused(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/api/captions", data=body, headers=MULTIPART)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] in ("bad_request", "bad_image")
    assert_captions(client)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", 'multipart/form-data; boundary=""']
)
def test_a_form_without_a_boundary_is_refused(client: FlaskClient, content_type: str) -> None:
    body = IMAGE_PART + picture() + b"\r\n--b--\r\n"
    answer = client.post("/api/captions", data=body, headers={"Content-Type": content_type})
    assert_refused(answer, 400, "bad_request", "`image`")


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="image"; filename="b\xe4r.jpg"',
        'form-data; name="image"; filename="b\u00e4r.jpg"'.encode(),
        b'form-data; name="image"; filename="a %22quoted%22 \\"name\\".jpg"',
        b"form-data; name=\"image\"; filename*=utf-8''b%C3%A4r.jpg",
        b"form-data; name=image; filename=frame.jpg",
        b'form-data; filename="frame.jpg"; name="image"',
        b'Form-Data; Name="image"; FileName=""',
    ],
)
def test_a_file_may_have_any_name(client: FlaskClient, disposition: bytes) -> None:
    head = b"--b\r\nContent-Disposition: " + disposition + b"\r\nContent-Type: image/jpeg\r\n\r\n"
    body = b"a preamble\r\n" + head + picture() + b"\r\n--b--\r\nan epilogue"
    answer = client.post("/api/captions?max_tokens=1", data=body, headers=MULTIPART)
    assert answer.status_code == 200, answer.text


def test_a_multipart_body_that_is_cut_off_is_refused(client: FlaskClient) -> None:
    cut_off = IMAGE_PART + picture()[:500]
    answer = client.post("/api/captions", data=cut_off, headers=MULTIPART)
    assert_refused(answer, 400, "bad_request", "`image`")
    assert_captions(client)


def test_too_many_parts_are_refused(client: FlaskClient) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    answer = client.post("/api/captions", data=part * 5000 + b"--b--\r\n", headers=MULTIPART)
    assert_refused(answer, 413, "form_too_large", "more than 16 parts")
    assert_captions(client)


@pytest.mark.parametrize(
    "prompt", ["<image>", "<end_of_utterance>", "<|im_start|>", "🙂" * 20, "<"]
)
def test_a_prompt_that_looks_like_a_special_token_harms_nothing(
    client: FlaskClient, prompt: str
) -> None:
    query = {"prompt": prompt, "max_tokens": 2}
    answer = client.post("/api/captions", query_string=query, data=picture(), headers=JPEG)
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert read_events(answer.text)[-1][0] == "done"
    assert_captions(client)
