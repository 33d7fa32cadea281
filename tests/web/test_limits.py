"""Each limit of `docs/http.md` is where it says, however the bytes come in pieces.

Each case is sent to a real server with one less than the limit, with the limit, and with one more;
the body in one piece, in pieces of 1, 1,000, 65,535 and 65,536 bytes, and in chunks; limits of JSON
in one piece and in pieces of 1 byte. Of a body of more than 200 KB all but the last 1,000 bytes go
in pieces of 64 KiB, since millions of pieces would take minutes; the rest goes in the pieces that
the test is about.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import pytest
from PIL import Image

from many_pictures import png_of_bytes
from raw_requests import CAPTIONS, WAYS, Sent, ask, ask_raw, exchange, pieces_of
from vlm.engine.engine import Engine
from vlm.images.decode import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE_PX
from vlm.prompts import CHAT_MAX_CHARS, PROMPT_MAX_CHARS
from vlm.scheduler.worker import Worker
from vlm.settings import MAX_TOKENS_LIMIT, Settings
from web import access, connections, errors, status
from web.caption_fields import CAMERA_MAX_CHARS
from web.chats import fields, images, json_body
from web.picture_body import (
    MAX_FIELD_BYTES,
    MAX_FORM_BYTES,
    MAX_FORM_PARTS,
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
)
from web_client import SightlineProcess, SteppedEngine, picture, served, started, wait_until

CHAT = "/v1/chat/completions"
FORM, JSON = "multipart/form-data; boundary=b", "application/json"


class Case(NamedTuple):
    """A limit; `make(n)` is the request with `n` of what it limits."""

    name: str
    limit: int
    make: Callable[[int], Sent]
    status: int
    code: str
    # In the message of the refusal, and in no other.
    words: str
    # What comes of a request within the limit: its caption, or another refusal for its rest.
    taken: tuple[int, str] = (200, "")


# -- forms --


def part(name: str, content: bytes = b"", head: str = "") -> bytes:
    """A part of a form that is no file."""
    start = f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n{head}\r\n'
    return start.encode() + content + b"\r\n"


def form(*parts: bytes, data: bytes | None = None, file: str = "image") -> bytes:
    """A form of these parts and a picture."""
    head = f'--b\r\nContent-Disposition: form-data; name="{file}"; filename="f"\r\n\r\n'.encode()
    return b"".join(parts) + head + (data or SMALL) + b"\r\n--b--\r\n"


def form_of_bytes(size: int) -> Sent:
    """A form of `size` bytes with a picture of the largest size, and another file."""
    image = part("image").replace(b'"image"', b'"image"; filename="f"', 1).removesuffix(b"\r\n")
    start = image + picture_of_bytes(MAX_IMAGE_BYTES) + b"\r\n"
    rest = size - len(form(start, data=b"x", file="other")) + 1
    return Sent(form(start, data=bytes(rest), file="other"), FORM)


def long_header(size: int) -> Sent:
    """A header of a part whose name and value have `size` bytes."""
    return Sent(form(part("a", head=f"X-Long: {'x' * (size - len('X-Long'))}\r\n")), FORM)


def many_headers(count: int) -> Sent:
    """A part with `count` headers."""
    return Sent(form(part("a", head="X: y\r\n" * (count - 1))), FORM)


def prompt(length: int) -> str:
    """A prompt of words, of which a model has fewer tokens than of letters."""
    return ("Is it red? " * length)[: length - 1] + "?"


# -- pictures --

SMALL = picture("PNG")


def picture_of_bytes(size: int) -> bytes:
    return png_of_bytes(SMALL, size)


def picture_of_sides(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


# -- bodies of /v1 --


def blank(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height)).save(out, "PNG")
    return out.getvalue()


def image_part(data: bytes) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def chat(*parts: dict[str, Any], **fields: Any) -> Sent:
    """A question of one message with these parts, one small picture if none are given."""
    content = list(parts) or [image_part(SMALL), words("What is it?")]
    body = {"model": "nano", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
    return Sent(json.dumps(body | fields).encode(), JSON, CHAT)


def chat_of_bytes(size: int) -> Sent:
    return Sent(chat().body.ljust(size), JSON, CHAT)


def chat_of_values(count: int) -> Sent:
    """As many commas and brackets, most in a field that no model reads."""
    body = chat(metadata={"a": ""}).body
    others = sum(body.count(each) for each in (b",", b"[", b"{"))
    return chat(metadata={"a": "," * (count - others)})


def chat_of_pixels(count: int) -> Sent:
    """Four pictures of the largest sides at the limit, one pixel less or more around it."""
    side = 2048
    sizes = {
        images.MAX_PIXELS_TOGETHER - 1: [(side, side - 1), (side - 1, 1)],
        images.MAX_PIXELS_TOGETHER: [(side, side)],
        images.MAX_PIXELS_TOGETHER + 1: [(side, side), (1, 1)],
    }[count]
    pictures = [blank(side, side)] * 3 + [blank(*size) for size in sizes]
    return chat(*map(image_part, pictures))


def chat_of_messages(count: int) -> Sent:
    earlier = [{"role": "system", "content": "a"}] * (count - 1)
    return chat(messages=[*earlier, {"role": "user", "content": [image_part(SMALL)]}])


def by_field(name: str, value: Callable[[int], Any]) -> Callable[[int], Sent]:
    return lambda n: chat(**{name: value(n)})


INVALID = {"status": 400, "code": "invalid_value"}
CONTEXT = (400, "bad_request")

CASES = [
    Case(
        "bytes of a picture as the body",
        MAX_IMAGE_BYTES,
        lambda n: Sent(picture_of_bytes(n)),
        413,
        "image_too_large",
        "The image has more than 16 MiB",
    ),
    Case(
        "bytes of a picture in a form",
        MAX_IMAGE_BYTES,
        lambda n: Sent(form(data=picture_of_bytes(n)), FORM),
        413,
        "image_too_large",
        "The image has more than 16 MiB",
    ),
    Case(
        "bytes of another file in a form",
        MAX_IMAGE_BYTES,
        lambda n: Sent(form(form(data=bytes(n), file="o").removesuffix(b"--b--\r\n")), FORM),
        413,
        "form_too_large",
        "The file in the field `o` has more than 16 MiB",
    ),
    Case(
        "pixels of a picture, in rows of 6,800",
        MAX_IMAGE_PIXELS // 6800,
        lambda n: Sent(picture_of_sides(6800, n)),
        413,
        "image_too_large",
        "at most 51 million",
    ),
    Case(
        "pixels of a side",
        MAX_IMAGE_SIDE_PX,
        lambda n: Sent(picture_of_sides(n, 2)),
        413,
        "image_too_large",
        "at most 65,535 a side",
    ),
    Case(
        "bytes of a field",
        MAX_FIELD_BYTES,
        lambda n: Sent(form(part("note", b"\r" * n)), FORM),
        413,
        "form_too_large",
        "The field `note` has more than 64 KiB",
    ),
    Case(
        "parts of a form",
        MAX_FORM_PARTS,
        lambda n: Sent(form(part("a", b"x") * (n - 1)), FORM),
        413,
        "form_too_large",
        "The form has more than 16 parts",
    ),
    Case(
        "headers of a part",
        MAX_PART_HEADERS,
        many_headers,
        413,
        "form_too_large",
        "more than 8 headers",
    ),
    Case(
        "bytes of a header of a part",
        MAX_PART_HEADER_BYTES,
        long_header,
        413,
        "form_too_large",
        "more than 4,096 bytes",
    ),
    Case(
        "bytes of a form",
        MAX_FORM_BYTES,
        form_of_bytes,
        413,
        "form_too_large",
        "The form has more than 18 MiB",
    ),
    Case(
        "characters of a prompt",
        PROMPT_MAX_CHARS,
        lambda n: Sent(form(part("prompt", prompt(n).encode())), FORM),
        400,
        "bad_request",
        "at most 2000 are taken",
    ),
    Case(
        "characters of a prompt in the query",
        PROMPT_MAX_CHARS,
        lambda n: Sent(SMALL, path=f"{CAPTIONS}&prompt={prompt(n).replace(' ', '+')}"),
        400,
        "bad_request",
        "at most 2000 are taken",
    ),
    Case(
        "characters of a camera",
        CAMERA_MAX_CHARS,
        lambda n: Sent(form(part("camera", b"c" * n)), FORM),
        400,
        "bad_request",
        "camera must be 1 to 64",
    ),
    Case(
        "tokens of a caption",
        MAX_TOKENS_LIMIT,
        lambda n: Sent(form(part("max_tokens", str(n).encode())), FORM),
        400,
        "bad_request",
        "from 1 to 512",
    ),
    Case(
        "bytes to change the model",
        status.MAX_BODY_BYTES,
        lambda n: Sent(b'{"model": "none"}'.ljust(n), JSON, "/api/models/switch"),
        400,
        "bad_request",
        "At most 4096 bytes",
        taken=(404, "unknown_model"),
    ),
    Case(
        "characters of the name of a model",
        status.NAME_MAX_CHARS,
        lambda n: Sent(b'{"model": "%s"}' % (b"m" * n), JSON, "/api/models/switch"),
        400,
        "bad_request",
        "at most 255 characters",
        taken=(404, "unknown_model"),
    ),
    Case(
        "bytes of a body anywhere",
        connections.MAX_BODY_BYTES,
        lambda n: Sent(bytes(n)),
        413,
        "image_too_large",
        "more than 32 MiB",
        taken=(413, "image_too_large"),
    ),
    Case(
        "bytes of a form anywhere",
        connections.MAX_BODY_BYTES,
        lambda n: Sent(bytes(n), FORM),
        413,
        "form_too_large",
        "more than 32 MiB",
        taken=(413, "form_too_large"),
    ),
    Case(
        "bytes of a body under /v1",
        errors.MAX_BODY_BYTES,
        chat_of_bytes,
        413,
        "request_too_large",
        "The body has more than 24 MiB",
    ),
    Case(
        "bytes of a body under /v1 anywhere",
        connections.MAX_BODY_BYTES,
        chat_of_bytes,
        413,
        "request_too_large",
        "more than 32 MiB",
        taken=(413, "request_too_large"),
    ),
]

# The whole body is read before these are checked, so not every way of sending it matters.
JSON_CASES = [
    Case(
        "commas and brackets",
        json_body.MAX_VALUES,
        chat_of_values,
        400,
        "invalid_json",
        "more than 50,000",
    ),
    Case(
        "messages",
        fields.MAX_MESSAGES,
        chat_of_messages,
        **INVALID,
        words="at most 256",
        taken=CONTEXT,
    ),
    Case(
        "parts of a message",
        fields.MAX_PARTS,
        lambda n: chat(*[words("a")] * (n - 1), image_part(SMALL)),
        **INVALID,
        words="at most 256",
    ),
    Case(
        "characters of a text",
        CHAT_MAX_CHARS,
        lambda n: chat(words("x" * n), image_part(SMALL)),
        **INVALID,
        words="at most 32000",
        taken=CONTEXT,
    ),
    Case(
        "characters of all texts",
        fields.MAX_CHARS_TOGETHER,
        lambda n: chat(*[words("x" * 30_000)] * 4, words("x" * (n - 120_000)), image_part(SMALL)),
        **INVALID,
        words="128,000 characters together",
        taken=CONTEXT,
    ),
    Case(
        "stops",
        fields.MAX_STOPS,
        by_field("stop", lambda n: ["zz"] * n),
        **INVALID,
        words="at most 16",
    ),
    Case(
        "characters of a stop",
        fields.NAME_MAX_CHARS,
        by_field("stop", lambda n: "z" * n),
        **INVALID,
        words="at most 256",
    ),
    Case(
        "characters of a user",
        fields.NAME_MAX_CHARS,
        by_field("user", lambda n: "u" * n),
        **INVALID,
        words="at most 256",
    ),
    Case(
        "characters of a model",
        fields.NAME_MAX_CHARS,
        by_field("model", lambda n: "m" * n),
        **INVALID,
        words="at most 256",
    ),
    Case(
        "likely tokens",
        fields.MAX_TOP_LOGPROBS,
        lambda n: chat(logprobs=True, top_logprobs=n),
        **INVALID,
        words="less than or equal to 20",
    ),
    Case(
        "images of a request",
        images.MAX_IMAGES,
        lambda n: chat(*[image_part(SMALL)] * n),
        400,
        "too_many_images",
        "At most 64 images",
        taken=CONTEXT,
    ),
    Case(
        "bytes of an image under /v1",
        MAX_IMAGE_BYTES,
        lambda n: chat(image_part(picture_of_bytes(n))),
        413,
        "image_too_large",
        "16 MiB",
    ),
    Case(
        "pixels of images together",
        images.MAX_PIXELS_TOGETHER,
        chat_of_pixels,
        413,
        "image_too_large",
        "more than 16,777,216 pixels together",
    ),
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with SightlineProcess(("--model", "nano", "--runtime", "torch", "--device", "cpu")) as process:
        process.wait_until_ready()
        yield process.port


@pytest.mark.parametrize("way", WAYS)
def test_each_limit_is_where_it_says(port: int, way: int | str) -> None:
    wrong = []
    for case in [*CASES, *(JSON_CASES if way in (0, 1) else ())]:
        for n in (case.limit - 1, case.limit, case.limit + 1):
            answer = ask(port, case.make(n), way)
            if n > case.limit:
                is_right = answer[:2] == (case.status, case.code) and case.words in answer.message
            else:
                is_right = answer[:2] == case.taken and case.words not in answer.message
            if not is_right:
                wrong.append((case.name, n - case.limit, answer))
    assert wrong == []


@pytest.mark.parametrize("way", [way for way in WAYS if way != "chunked"])
def test_the_head_of_a_request_is_bounded(port: int, way: int) -> None:
    def head_of_bytes(size: int) -> bytes:
        start = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: "
        return start.ljust(size - 4, b"x") + b"\r\n\r\n"

    limit = connections.MAX_HEADER_BYTES
    answers = [
        ask_raw(port, b"", pieces_of(head_of_bytes(n), way)) for n in (limit - 1, limit, limit + 1)
    ]
    assert [answer.status for answer in answers] == [200, 200, 431]
    assert "32 KiB" in answers[-1].message


def test_header_names_of_a_preflight_are_bounded(web_worker: Worker) -> None:
    """Too many names are left out of the answer, so that the browser refuses the request."""
    limit, origin = access.HEADER_NAMES_MAX_CHARS, "https://chat.example"
    with served(web_worker, Settings(allow_origin=(origin,))) as (port, _):
        for way in (way for way in WAYS if not isinstance(way, str)):
            allowed = []
            for count in (limit - 1, limit, limit + 1):
                head = (
                    f"OPTIONS {CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    f"Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n"
                    f"Access-Control-Request-Headers: {'x' * count}\r\n\r\n"
                )
                answer = exchange(port, pieces_of(head.encode(), way)).lower()
                assert answer.startswith(b"http/1.1 204")
                allowed.append(b"access-control-allow-headers" in answer)
            assert allowed == [True, True, False]


def is_queue_of(worker: Worker, length: int) -> bool:
    return worker.queue.in_flight == 1 and worker.queue.waiting == length


@pytest.mark.parametrize("way", WAYS)
def test_as_many_wait_as_may(engine: Engine, way: int | str) -> None:
    """One is captioned and MAX_QUEUE wait; the one after them is refused."""
    max_queue = 3
    stepped = SteppedEngine(engine)
    worker = Worker(lambda: stepped, max_queue)
    with (
        started(worker),
        served(worker, Settings(max_queue=max_queue)) as (port, _),
        ThreadPoolExecutor(1 + max_queue) as pool,
        # Or a test that fails would wait for captions that never end.
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(stepped.allow, 1000)
        asked = []
        for number in range(1 + max_queue):
            asked.append(pool.submit(ask, port, Sent(SMALL), way))
            wait_until(partial(is_queue_of, worker, number))
        refused = ask(port, Sent(SMALL), way)
        assert refused[:2] == (503, "busy")
        stepped.allow(1000)
        assert [each.result()[:2] for each in asked] == [(200, "")] * (1 + max_queue)
