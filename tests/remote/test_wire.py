"""Laws of what is sent to a server: the fields of OpenAI's chat API, pictures as bounded JPEGs."""

from __future__ import annotations

import base64
import io
import json
import random

import pytest
from PIL import Image

from vlm.errors import BadRequestError
from vlm.images.decode import MAX_SIDE_PX
from vlm.remote.wire import FRAME_SIZE_PX, MAX_JPEG_BYTES, as_bytes, body_of, jpeg_of
from vlm.types import Message, Request, Sampling

FRAME = Image.linear_gradient("L").resize((640, 480)).convert("RGB")


def sent_picture(part: dict[str, dict[str, str]]) -> Image.Image:
    kind, _, data = part["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_question_about_a_frame_is_one_turn_of_picture_and_words() -> None:
    body = body_of(Request.about(FRAME, "What is this?", 24, camera="door"))
    (message,) = body["messages"]
    assert message["role"] == "user"
    picture, words = message["content"]
    assert words == {"type": "text", "text": "What is this?"}
    assert sent_picture(picture).size == (512, 384)
    assert (body["max_tokens"], body["stream"], body["temperature"]) == (24, True, 0.0)
    assert body["user"] == "door"
    asked_for = {"messages", "max_tokens", "stream", "temperature", "user"}
    assert set(body) == asked_for, "what was not asked for is left to the server"


def test_all_that_a_request_asks_for_is_sent() -> None:
    request = Request(
        (Message("user", (FRAME, "Go.")),),
        9,
        sampling=Sampling(0.7, 0.9, 5),
        stop=("\n", "END"),
        top_logprobs=3,
        json_object=True,
    )
    body = body_of(request)
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.7, 0.9, 5)
    assert body["stop"] == ["\n", "END"]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)
    assert body["response_format"] == {"type": "json_object"}
    assert "user" not in body


def test_turns_keep_their_order_and_those_of_words_alone_are_plain_strings() -> None:
    messages = (
        Message("system", ("Be brief.",)),
        Message("user", ("First", FRAME, "then", FRAME, "?")),
        Message("assistant", ("A circle.",)),
        Message("user", ("And now?",)),
    )
    sent = body_of(Request(messages, 8))["messages"]
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "user"]
    assert [sent[0]["content"], sent[3]["content"]] == ["Be brief.", "And now?"]
    kinds = [part["type"] for part in sent[1]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"]


@pytest.mark.parametrize(("detail", "longest_px"), [("low", FRAME_SIZE_PX), ("high", MAX_SIDE_PX)])
def test_detail_decides_how_large_a_picture_is_sent(detail: str, longest_px: int) -> None:
    image = Image.new("RGB", (MAX_SIDE_PX, 700))
    request = Request.about(image, "Read it.", 8, detail=detail)  # type: ignore[arg-type]
    part = body_of(request)["messages"][0]["content"][0]
    assert max(sent_picture(part).size) == longest_px
    assert part["image_url"]["detail"] == detail


def test_a_picture_that_no_jpeg_makes_small_is_shrunk_until_it_is() -> None:
    noise = Image.frombytes("RGB", (2048, 2048), random.Random(0).randbytes(3 * 2048 * 2048))
    data = jpeg_of(noise, None)
    assert len(data) <= MAX_JPEG_BYTES
    assert max(Image.open(io.BytesIO(data)).size) < 2048


@pytest.mark.parametrize("size", [(1, 1), (1, 2048), (2048, 1), (513, 3)])
def test_a_picture_of_any_shape_is_sent(size: tuple[int, int]) -> None:
    sent = Image.open(io.BytesIO(jpeg_of(Image.new("RGB", size), FRAME_SIZE_PX)))
    assert max(sent.size) == min(max(size), FRAME_SIZE_PX)


def test_text_is_sent_as_it_is_and_what_is_none_is_refused() -> None:
    request = Request.about(FRAME, 'A "blåbær" 🫐?', 8)
    assert json.loads(as_bytes(body_of(request))) == body_of(request)
    with pytest.raises(BadRequestError):
        as_bytes(body_of(Request.about(FRAME, "\ud83e", 8)))
