"""`begin` and `alternatives` of `/api/captions`: an answer token by token, and bad values."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat_kit import CHAT, chat_body, question
from tools.nano.scenes import make_frame
from vlm.prompts import DEFAULT_PROMPT
from web_client import JPEG, picture, read_events

IMAGE = make_frame(3, "test", "objects").image


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


def ask(client: FlaskClient, **query: object) -> Any:
    data = io.BytesIO()
    IMAGE.save(data, "PNG")
    answer = client.post("/api/captions", query_string=query, data=data.getvalue(), headers=JPEG)
    *tokens, (name, done) = read_events(answer.text)
    assert name == "done", done
    assert "".join(token["text"] for _, token in tokens) == done["text"]
    return done


def test_an_answer_goes_on_from_each_of_its_beginnings(client: FlaskClient) -> None:
    whole = ask(client, alternatives=5, sure=1)
    text = whole["text"]
    assert ask(client)["text"] == text and ask(client)["tokens"] is None
    assert "".join(token["text"] for token in whole["tokens"]) == text
    for token in whole["tokens"]:
        assert text[token["start"] : token["end"]] == token["text"]
        likely = [each["probability"] for each in token["alternatives"]]
        assert len(likely) == 5 and likely == sorted(likely, reverse=True)
        assert likely[0] <= token["probability"] <= 1
    for token in whole["tokens"][1:]:
        begin = text[: token["start"]]
        step = ask(client, begin=begin, max_tokens=1, alternatives=5, sure=1)
        assert begin + step["text"] == text[: token["end"]]
        assert step["sure"]["words"][0]["text"] == token["text"].strip()
        (one,) = step["tokens"]
        assert one["probability"] == pytest.approx(token["probability"], abs=1e-4)
        assert [each["text"] for each in one["alternatives"]] == [
            each["text"] for each in token["alternatives"]
        ]
        assert begin + ask(client, begin=f" {begin} ")["text"] == text


def test_it_is_what_a_prefilled_chat_says(client: FlaskClient) -> None:
    begin = "A blue"
    step = ask(client, begin=begin, alternatives=4, max_tokens=3)
    (user,) = question(IMAGE, text=DEFAULT_PROMPT)
    body = chat_body(
        messages=[user, {"role": "assistant", "content": begin}],
        max_tokens=3,
        logprobs=True,
        top_logprobs=5,
        temperature=0,
        continue_final_message=True,
        add_generation_prompt=False,
    )
    (choice,) = client.post(CHAT, json=body).get_json()["choices"]
    assert choice["message"]["content"] == step["text"]
    for token, other in zip(step["tokens"], choice["logprobs"]["content"], strict=True):
        assert token["probability"] == pytest.approx(math.exp(other["logprob"]), abs=1e-6)
        rest = [each for each in other["top_logprobs"] if each["token"] != other["token"]]
        assert [each["text"].strip() for each in token["alternatives"]] == [
            "" if "end_of" in each["token"] else each["token"].strip() for each in rest[:4]
        ]


def test_any_beginning_is_taken_and_bad_values_are_refused(client: FlaskClient) -> None:
    for begin in ("   ", "🟥⭐ ", "<image><end_of_utterance>", "a\u0007b", "No.", "x" * 900):
        ask(client, begin=begin, max_tokens=2, alternatives=1)
    refused = ({"alternatives": "6"}, {"alternatives": "-1"}, {"begin": "a" * 32_001})
    for query in (*refused, {"begin": "long " * 5000}, {"begin": "\ufffd"}):
        form = {"image": (io.BytesIO(picture()), "frame.jpg"), **query}
        answer = client.post("/api/captions", data=form)
        told = answer.get_json() or read_events(answer.text)[-1][1]
        assert told["error"]["code"] == "bad_request", query
