"""Requests to a server: the fields of OpenAI's chat API, images as bounded JPEGs."""

from __future__ import annotations

import base64
import io
import json
import random
from typing import Any

import pytest
from PIL import Image

from engine_kit import chat_request
from vlm.errors import BadRequestError
from vlm.images.decode import MAX_SIDE_PX
from vlm.remote.wire import FRAME_SIZE_PX, MAX_JPEG_BYTES, encode_jpeg, json_bytes, request_body
from vlm.types import ANSWER_MAX_TOKENS, Form, Message, Request, Sampling

FRAME = Image.linear_gradient("L").resize((640, 480)).convert("RGB")


def decoded(part: dict[str, Any]) -> Image.Image:
    kind, _, data = part["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_question_about_a_frame_is_one_message_with_no_field_too_many() -> None:
    body = request_body(Request.about(FRAME, "What is this?", 24, camera="door"))
    (message,) = body.pop("messages")
    assert message["role"] == "user"
    image, text = message["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert decoded(image).size == (512, 384)
    assert body == {"max_tokens": 24, "stream": True, "temperature": 0.0, "user": "door"}


def test_every_setting_of_a_request_is_sent() -> None:
    request = chat_request(
        (Message("user", (FRAME, "Go.")),),
        9,
        sampling=Sampling(0.7, 0.9, 5),
        stop=("\n", "END"),
        top_logprobs=3,
        json_object=True,
    )
    penalties = Sampling(top_k=4, presence_penalty=0.5, logit_bias=((7, 1.0),))
    form = Form("json_schema", '{"type": "object"}')
    go = (Message("user", ("Go.",)),)
    other = request_body(chat_request(go, 9, sampling=penalties, form=form))
    assert (other["top_k"], other["presence_penalty"], other["logit_bias"]) == (4, 0.5, {"7": 1.0})
    assert other["response_format"]["json_schema"]["schema"] == {"type": "object"}
    continued = request_body(chat_request(go, 9, prompt_end="final_text"))
    assert (continued["add_generation_prompt"], continued["continue_final_message"]) == (
        False,
        True,
    )
    unlimited = chat_request(go, ANSWER_MAX_TOKENS)
    assert "max_tokens" not in request_body(unlimited)
    body = request_body(request)
    del body["messages"]
    assert body == {
        "max_tokens": 9,
        "stream": True,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 5,
        "stop": ["\n", "END"],
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {"type": "json_object"},
    }


def test_messages_keep_their_order_and_pure_text_is_a_plain_string() -> None:
    messages = (
        Message("system", ("Be brief.",)),
        Message("user", ("First", FRAME, "then", FRAME, "?")),
        Message("assistant", ("A circle.",)),
        Message("user", ("And now?",)),
    )
    sent = request_body(chat_request(messages, 8))["messages"]
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "user"]
    assert [sent[0]["content"], sent[3]["content"]] == ["Be brief.", "And now?"]
    types = [part["type"] for part in sent[1]["content"]]
    assert types == ["text", "image_url", "text", "image_url", "text"]


def test_images_of_any_shape_are_scaled_to_the_detail() -> None:
    image = Image.new("RGB", (MAX_SIDE_PX, 700))
    for detail, longest_px, known in (
        ("tiny", 256, "low"),
        ("small", 384, "low"),
        ("low", FRAME_SIZE_PX, "low"),
        ("high", MAX_SIDE_PX, "high"),
    ):
        request = Request.about(image, "Read it.", 8, detail=detail)  # type: ignore[arg-type]
        part = request_body(request)["messages"][0]["content"][0]
        assert max(decoded(part).size) == longest_px
        assert part["image_url"]["detail"] == known
    for size in ((1, 1), (1, 2048), (2048, 1), (513, 3)):
        sent = Image.open(io.BytesIO(encode_jpeg(Image.new("RGB", size), FRAME_SIZE_PX)))
        assert max(sent.size) == min(max(size), FRAME_SIZE_PX)


def test_an_image_is_scaled_until_its_jpeg_is_small_enough() -> None:
    noise = Image.frombytes("RGB", (2048, 2048), random.Random(0).randbytes(3 * 2048 * 2048))
    data = encode_jpeg(noise, None)
    assert len(data) <= MAX_JPEG_BYTES
    assert max(Image.open(io.BytesIO(data)).size) < 2048


def test_text_is_sent_unchanged_and_lone_surrogates_are_refused() -> None:
    body = request_body(Request.about(FRAME, 'A "blåbær" 🫐?', 8))
    assert json.loads(json_bytes(body)) == body
    with pytest.raises(BadRequestError):
        json_bytes(request_body(Request.about(FRAME, "\ud83e", 8)))
