"""Laws of an answer that comes in events: whole or an error, whatever the server says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from vlm.remote.answer import Answer
from vlm.remote.failures import Failure
from vlm.types import Message, Request, TokenChunk

REQUEST = Request.about(Image.new("RGB", (8, 8)), "What?", 16)
KEY = "sk-a-secret"


def chunk(text: object = None, finish_reason: object = None, **what: Any) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason} | what
    return json.dumps({"choices": [choice]})


def answer_of(*events: str, request: Request = REQUEST) -> tuple[Answer, list[TokenChunk]]:
    answer = Answer(request, KEY)
    chunks = [answer.take(event) for event in events]
    return answer, [each for each in chunks if each is not None]


def test_an_answer_is_whole_once_its_end_is_said() -> None:
    events = [chunk(""), chunk("A "), chunk("cat"), chunk(None, "stop"), "[DONE]"]
    for count in range(len(events) + 1):
        answer, _ = answer_of(*events[:count])
        assert answer.is_whole == (count >= 4)
    answer, chunks = answer_of(*events)
    assert [each.text for each in chunks] == ["A ", "cat"]
    assert (answer.text, answer.finish_reason()) == ("A cat", "stop")


def test_an_answer_does_not_begin_with_space() -> None:
    answer, chunks = answer_of(chunk(" "), chunk("\n A"), chunk(" cat"), "[DONE]")
    assert [each.text for each in chunks] == ["A", " cat"]
    assert answer.stats(0.1, 1.0).tokens == 3


@pytest.mark.parametrize("events", [[], [chunk("A ")], [chunk("A "), chunk("cat")]])
def test_an_answer_without_an_end_is_none(events: list[str]) -> None:
    answer, _ = answer_of(*events)
    with pytest.raises(Failure, match="broke off"):
        answer.finish_reason()


def test_an_end_without_a_reason_counts_by_the_tokens() -> None:
    assert answer_of(chunk("A"), "[DONE]")[0].finish_reason() == "stop"
    assert answer_of(*[chunk("A")] * 16, "[DONE]")[0].finish_reason() == "length"


@pytest.mark.parametrize("reason", ["content_filter", "abort", "tool_calls", "error", "", 5, []])
def test_an_answer_that_was_given_up_is_none(reason: object) -> None:
    with pytest.raises(Failure):
        answer_of(chunk("A "), chunk(None, reason))


@pytest.mark.parametrize(
    "event",
    [
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
        '{"error": "all is lost"}',
        '{"object": "error", "message": "gone"}',
        "[" * 100_000,
        "9" * 100_000,
    ],
)
def test_what_is_no_event_of_an_answer_is_an_error(event: str) -> None:
    with pytest.raises(Failure) as caught:
        answer_of(chunk("A"), event)
    assert caught.value.kind == "broken"


def test_a_server_that_never_comes_to_an_end_is_left() -> None:
    answer = Answer(REQUEST, None)
    with pytest.raises(Failure, match="after the end"):
        for _ in range(10_000):
            answer.take(chunk("and so on "))
    answer = Answer(REQUEST, None)
    with pytest.raises(Failure, match="after the end"):
        for _ in range(10_000):
            answer.take(chunk(""))


def test_the_servers_words_are_quoted_short_and_without_the_key() -> None:
    said = f"No such key: {KEY}.\n\x1b[31m" + "x" * 10_000
    with pytest.raises(Failure) as caught:
        answer_of(json.dumps({"error": {"message": said}}))
    words = caught.value.words
    assert "No such key: ***." in words
    assert KEY not in words
    assert len(words) < 400
    assert words.isprintable()


def test_halves_of_characters_do_not_come_through() -> None:
    _, chunks = answer_of('{"choices": [{"delta": {"content": "a\\ud83eb"}}]}')
    assert chunks[0].text.encode() == "a\ufffdb".encode()


def test_costs_are_told_as_the_server_counts_them() -> None:
    usage = {
        "prompt_tokens": 81,
        "completion_tokens": 7,
        "prompt_tokens_details": {"image_tokens": 64},
    }
    answer, _ = answer_of(chunk("A cat"), json.dumps({"choices": [], "usage": usage}))
    stats = answer.stats(0.5, 2.0)
    assert (stats.prompt_tokens, stats.image_tokens, stats.tokens) == (81, 64, 7)
    assert (stats.ttft_s, stats.tokens_per_s, stats.total_s) == (0.5, 3.5, 2.0)


@pytest.mark.parametrize("usage", [None, 5, {}, {"completion_tokens": -1}, {"prompt_tokens": "9"}])
def test_a_server_that_counts_nothing_is_counted_for(usage: object) -> None:
    answer, _ = answer_of(chunk("A "), chunk("cat"), json.dumps({"usage": usage}))
    stats = answer.stats(0.1, 1.0)
    assert (stats.tokens, stats.prompt_tokens, stats.image_tokens) == (2, 0, 0)


WITH_LOGPROBS = Request((Message("user", ("Go.",)),), 16, top_logprobs=1)


def test_logprobs_come_with_the_text_that_they_are_of() -> None:
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


@pytest.mark.parametrize(
    "content",
    [
        "5",
        "[5]",
        "[{}]",
        '[{"token": "a"}]',
        '[{"token": "a", "logprob": "x"}]',
        '[{"token": "a", "logprob": -1, "bytes": [999]}]',
        '[{"token": "a", "logprob": -1, "top_logprobs": 5}]',
        '[{"token": "a", "logprob": 1e999}]',
        '[{"token": "a", "logprob": 1' + "0" * 400 + "}]",
    ],
)
def test_logprobs_that_are_none_are_an_error(content: str) -> None:
    said = chunk("a", logprobs={"content": "HERE"}).replace('"HERE"', content)
    with pytest.raises(Failure):
        answer_of(said, request=WITH_LOGPROBS)
    assert answer_of(said)[1][0].text == "a", "who did not ask for them does not look at them"
