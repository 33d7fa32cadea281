"""Answers that arrive in events: complete or an error, whatever the server sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from engine_kit import chat_request
from vlm.remote.answer import UpstreamAnswer
from vlm.remote.failures import UpstreamFailure
from vlm.results import TokenChunk
from vlm.types import Message, Request

REQUEST = Request.about(Image.new("RGB", (8, 8)), "What?", 16)
KEY = "sk-a-secret"


def chunk(text: object = None, finish_reason: object = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason} | fields
    return json.dumps({"choices": [choice]})


def answer_of(*events: str, request: Request = REQUEST) -> tuple[UpstreamAnswer, list[TokenChunk]]:
    answer = UpstreamAnswer(request, KEY)
    chunks = [answer.add(event) for event in events]
    return answer, [each for each in chunks if each is not None]


def test_an_answer_is_complete_once_it_has_a_finish_reason_or_done() -> None:
    events = [chunk(""), chunk("A "), chunk("cat"), chunk(None, "stop"), "[DONE]"]
    for count in range(len(events) + 1):
        answer, _ = answer_of(*events[:count])
        assert answer.is_complete == (count >= 4)
        if not answer.is_complete:
            with pytest.raises(UpstreamFailure, match="in the middle of an answer"):
                answer.finish_reason()
    answer, chunks = answer_of(*events)
    assert [each.text for each in chunks] == ["A ", "cat"]
    assert (answer.text, answer.finish_reason()) == ("A cat", "stop")
    # Without a reason, the number of tokens decides.
    assert answer_of(chunk("A"), "[DONE]")[0].finish_reason() == "stop"
    assert answer_of(*[chunk("A")] * 16, "[DONE]")[0].finish_reason() == "length"


def test_leading_space_is_removed() -> None:
    answer, chunks = answer_of(chunk(" "), chunk("\n A"), chunk(" cat"), "[DONE]")
    assert [each.text for each in chunks] == ["A", " cat"]
    assert answer.stats(0.1, 1.0).tokens == 3


def test_invalid_events_are_failures() -> None:
    for event in (
        *(chunk(None, reason) for reason in ("content_filter", "abort", "error", 5, [])),
        "",
        "nonsense",
        '{"choices": [{"delta": {"content": "A',
        "[]",
        "null",
        "5",
        '"text"',
        '{"choices": 5}',
        '{"choices": [5]}',
        '{"choices": {"delta": {}}}',
        chunk(5),
        chunk(["A"]),
        '{"choices": [{"delta": 5}]}',
        '{"choices": [{"delta": "A"}]}',
        '{"choices": [{"delta": {"content": NaN}}]}',
        '{"error": {"message": "CUDA out of memory"}}',
        '{"error": "out of memory"}',
        '{"object": "error", "message": "gone"}',
        "[" * 100_000,
        "9" * 100_000,
    ):
        with pytest.raises(UpstreamFailure) as caught:
            answer_of(chunk("A"), event)
        assert caught.value.kind == "broken", event[:80]


def test_an_endless_answer_is_a_failure() -> None:
    for text in ("and so on ", ""):
        answer = UpstreamAnswer(REQUEST, None)
        with pytest.raises(UpstreamFailure, match="than the answer has tokens"):
            for _ in range(10_000):
                answer.add(chunk(text))


def test_error_messages_are_quoted_short_and_without_the_key() -> None:
    message = f"No such key: {KEY}.\n\x1b[31m" + "x" * 10_000
    with pytest.raises(UpstreamFailure) as caught:
        answer_of(json.dumps({"error": {"message": message}}))
    words = caught.value.words
    assert "No such key: ***." in words
    assert KEY not in words
    assert len(words) < 400
    assert words.isprintable()


def test_lone_surrogates_are_replaced() -> None:
    _, chunks = answer_of('{"choices": [{"delta": {"content": "a\\ud83eb"}}]}')
    assert chunks[0].text.encode() == "a\ufffdb".encode()


def test_costs_are_the_servers_usage_or_else_the_events_with_text() -> None:
    usage: object = {
        "prompt_tokens": 81,
        "completion_tokens": 7,
        "prompt_tokens_details": {"image_tokens": 64},
    }
    answer, _ = answer_of(chunk("A cat"), json.dumps({"choices": [], "usage": usage}))
    stats = answer.stats(0.5, 2.0)
    assert (stats.prompt_tokens, stats.image_tokens, stats.tokens) == (81, 64, 7)
    assert (stats.ttft_s, stats.tokens_per_s, stats.total_s) == (0.5, 3.5, 2.0)
    for usage in (None, 5, {}, {"completion_tokens": -1}, {"prompt_tokens": "9"}):
        answer, _ = answer_of(chunk("A "), chunk("cat"), json.dumps({"usage": usage}))
        stats = answer.stats(0.1, 1.0)
        assert (stats.tokens, stats.prompt_tokens, stats.image_tokens) == (2, 0, 0)


WITH_LOGPROBS = chat_request((Message("user", ("Go.",)),), 16, top_logprobs=1)


def test_logprobs_come_with_their_text() -> None:
    half = {"token": "\\xf0", "logprob": -0.5, "bytes": [240], "top_logprobs": []}
    other = {"token": " dog", "logprob": -2, "bytes": None}
    whole = {"token": " cat", "logprob": -0.25, "bytes": None, "top_logprobs": [other]}
    _, chunks = answer_of(
        chunk("", logprobs={"content": [half]}),
        chunk(" cat", logprobs={"content": [whole]}),
        chunk("."),
        request=WITH_LOGPROBS,
    )
    first, second = chunks[0].logprobs
    assert (first.token_bytes, first.logprob) == (b"\xf0", -0.5)
    assert (second.token_bytes, second.top[0].token, second.top[0].logprob) == (
        b" cat",
        " dog",
        -2.0,
    )
    assert chunks[1].logprobs == ()


def test_invalid_logprobs_are_a_failure_only_if_the_request_has_logprobs() -> None:
    for content in (
        "5",
        "[5]",
        "[{}]",
        '[{"token": "a"}]',
        '[{"token": "a", "logprob": "x"}]',
        '[{"token": "a", "logprob": -1, "bytes": [999]}]',
        '[{"token": "a", "logprob": -1, "top_logprobs": 5}]',
        '[{"token": "a", "logprob": 1e999}]',
        '[{"token": "a", "logprob": 1' + "0" * 400 + "}]",
    ):
        event = chunk("a", logprobs={"content": "HERE"}).replace('"HERE"', content)
        with pytest.raises(UpstreamFailure, match="logprobs"):
            answer_of(event, request=WITH_LOGPROBS)
        assert answer_of(event)[1][0].text == "a"
