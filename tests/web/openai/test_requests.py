"""Conversion of a chat body's fields into a Request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from chat_kit import chat_body, image_part, text_part
from vlm.types import ANSWER_MAX_TOKENS, Message, Request, Sampling
from web.openai.body import chat_request, read_chat_body


def request_of(**fields: Any) -> Request:
    return chat_request(read_chat_body(json.dumps(chat_body(**fields)).encode())).request


def test_a_chat_is_a_question_of_its_user() -> None:
    assert request_of().camera is None
    assert request_of(user="the hall").camera == "the hall"
    assert request_of(user="the hall").kind == "question"


def test_texts_and_images_keep_their_order_and_roles() -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    request = request_of(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [image_part(red), text_part("and"), image_part(blue)]},
            {"role": "assistant", "content": [text_part("Two "), text_part("colours.")]},
            {"role": "user", "content": "Which?"},
        ]
    )
    first, second, third, fourth = request.task.messages
    assert first == Message("system", ("Be brief.",))
    assert second.role == "user"
    assert [part if isinstance(part, str) else part.getpixel((0, 0)) for part in second.parts] == [
        (255, 0, 0),
        "and",
        (0, 0, 255),
    ]
    assert third == Message("assistant", ("Two ", "colours."))
    assert fourth == Message("user", ("Which?",))


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ([None], "low"),
        (["auto", "low"], "low"),
        (["low", "high"], "high"),
        (["original"], "high"),
        (["tiny"], "tiny"),
        (["tiny", "small"], "small"),
        (["tiny", None], "low"),
    ],
)
def test_most_detail_of_one_image_applies_to_all(details: list[str | None], expected: str) -> None:
    parts = [image_part(**({"detail": detail} if detail else {})) for detail in details]
    assert request_of(messages=[{"role": "user", "content": parts}]).task.detail == expected


def test_the_smaller_token_limit_holds() -> None:
    assert request_of(max_tokens=9, max_completion_tokens=7).task.max_tokens == 7
    assert request_of(max_tokens=7, max_completion_tokens=9).task.max_tokens == 7
    for nothing in ({"max_tokens": None}, {"max_tokens": -1}, {"max_tokens": 10**400}):
        assert request_of(**nothing).task.max_tokens == ANSWER_MAX_TOKENS
    assert request_of(max_tokens=64.0).task.max_tokens == 64


def test_an_answer_without_a_limit_ends_at_a_loop() -> None:
    assert request_of(max_tokens=None).task.stop_loops
    assert not request_of(max_tokens=None, stop_loops=False).task.stop_loops
    assert not request_of(max_tokens=3000).task.stop_loops


def test_null_equals_absent() -> None:
    names = ("temperature", "top_p", "seed", "stop", "logprobs", "response_format", "user", "n")
    assert request_of(messages=TEXT, **dict.fromkeys(names)) == request_of(messages=TEXT)


TEXT = [{"role": "user", "content": "What is a circle?"}]


def test_sampling_is_greedy_without_a_temperature() -> None:
    assert request_of().task.sampling == Sampling(0.0, 1.0, None)
    assert request_of(temperature=1, top_p=0.5, seed=3).task.sampling == Sampling(1.0, 0.5, 3)


def test_stops_are_one_text_or_several() -> None:
    assert request_of().task.stop == request_of(stop=[]).task.stop == ()
    assert request_of(stop="a").task.stop == ("a",)
    assert request_of(stop=["a", "b"]).task.stop == ("a", "b")


def test_logprobs_may_come_without_alternatives() -> None:
    assert request_of(top_logprobs=0).task.top_logprobs is None
    assert request_of(logprobs=True).task.top_logprobs == 0
    assert request_of(logprobs=True, top_logprobs=5).task.top_logprobs == 5


def test_response_format_selects_json() -> None:
    assert not request_of(response_format={"type": "text"}).task.json_object
    assert request_of(response_format={"type": "json_object"}).task.json_object
