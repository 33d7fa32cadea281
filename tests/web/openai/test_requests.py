"""What a chat body asks of the worker, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from chat_kit import chat_body, image_part, text_part
from vlm.settings import Settings
from vlm.types import Message, Request, Sampling
from web.openai.body import chat_request, read_chat_body


def asked(settings: Settings | None = None, **fields: Any) -> Request:
    body = read_chat_body(json.dumps(chat_body(**fields)).encode())
    return chat_request(body, settings or Settings())


def test_a_chat_is_a_question_of_its_user_and_never_a_live_frame() -> None:
    assert asked().camera is None
    assert asked(user="the hall").camera == "the hall"
    assert asked(user="the hall").kind == "question"


def test_texts_and_images_keep_their_order_and_roles() -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    request = asked(
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
    [([None], "low"), (["auto", "low"], "low"), (["low", "high"], "high")],
)
def test_one_image_in_high_detail_makes_all_so(details: list[str | None], expected: str) -> None:
    parts = [image_part(**({"detail": detail} if detail else {})) for detail in details]
    assert asked(messages=[{"role": "user", "content": parts}]).task.detail == expected


def test_the_smaller_limit_counts_and_the_setting_without_one() -> None:
    assert asked(max_tokens=9, max_completion_tokens=7).task.max_tokens == 7
    assert asked(max_tokens=7, max_completion_tokens=9).task.max_tokens == 7
    assert asked(Settings(max_tokens=33), max_tokens=None).task.max_tokens == 33


def test_what_is_null_is_as_if_it_were_not_there() -> None:
    names = ("temperature", "top_p", "seed", "stop", "logprobs", "response_format", "user", "n")
    assert asked(messages=TEXT, **dict.fromkeys(names)) == asked(messages=TEXT)


TEXT = [{"role": "user", "content": "What is a circle?"}]


def test_sampling_is_greedy_unless_a_temperature_is_named() -> None:
    assert asked().task.sampling == Sampling(0.0, 1.0, None)
    assert asked(temperature=1, top_p=0.5, seed=3).task.sampling == Sampling(1.0, 0.5, 3)


def test_stops_are_one_text_or_several() -> None:
    assert asked().task.stop == asked(stop=[]).task.stop == ()
    assert asked(stop="a").task.stop == ("a",)
    assert asked(stop=["a", "b"]).task.stop == ("a", "b")


def test_logprobs_may_come_without_alternatives() -> None:
    assert asked(top_logprobs=0).task.top_logprobs is None
    assert asked(logprobs=True).task.top_logprobs == 0
    assert asked(logprobs=True, top_logprobs=5).task.top_logprobs == 5


def test_json_is_asked_for_by_the_format() -> None:
    assert not asked(response_format={"type": "text"}).task.json_object
    assert asked(response_format={"type": "json_object"}).task.json_object
