"""Sampling and log probabilities under /v1, with OpenAI's own client."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from openai import OpenAI

from chat_kit import MODEL, question


def chat(client: OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(
        **{"model": MODEL, "messages": question(), "max_tokens": 12, **fields}
    )


def text(client: OpenAI, **fields: Any) -> str:
    return str(chat(client, **fields).choices[0].message.content)


def test_the_default_temperature_is_greedy(client: OpenAI) -> None:
    assert text(client) == text(client, temperature=0, seed=3) == text(client, seed=4)


def test_the_same_seed_gives_the_same_answer(client: OpenAI) -> None:
    drawn = [text(client, temperature=2, seed=seed) for seed in range(4)]
    assert [text(client, temperature=2, seed=seed) for seed in range(4)] == drawn
    assert len(set(drawn)) > 1
    assert "".join(stream_of(client, temperature=2, seed=3)) == drawn[3]


def stream_of(client: OpenAI, **fields: Any) -> list[str]:
    with chat(client, stream=True, **fields) as chunks:
        return [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]


@pytest.mark.parametrize("seed", [-(2**63), -1, 0, 2**63 - 1])
def test_any_seed_of_64_bits_is_accepted(client: OpenAI, seed: int) -> None:
    assert text(client, temperature=1, seed=seed) == text(client, temperature=1, seed=seed)


def test_a_tiny_top_p_is_greedy(client: OpenAI) -> None:
    assert text(client, temperature=1, top_p=1e-9, seed=1) == text(client)


def test_logprobs_cover_each_token(client: OpenAI) -> None:
    answer = chat(client, logprobs=True, top_logprobs=3)
    (choice,) = answer.choices
    tokens = choice.logprobs.content
    assert len(tokens) in (answer.usage.completion_tokens, answer.usage.completion_tokens + 1)
    text_bytes = b"".join(bytes(token.bytes) for token in tokens[: answer.usage.completion_tokens])
    assert text_bytes.decode().strip() == choice.message.content.strip()
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert max(each.logprob for each in token.top_logprobs) == pytest.approx(token.logprob)
        assert sum(math.exp(each.logprob) for each in token.top_logprobs) <= 1.001


def test_logprobs_without_alternatives_do_not_change_the_text(client: OpenAI) -> None:
    (choice,) = chat(client, logprobs=True).choices
    assert all(token.top_logprobs == [] for token in choice.logprobs.content)
    assert choice.message.content == text(client)


def test_streamed_logprobs_equal_those_of_the_whole_answer(client: OpenAI) -> None:
    whole = chat(client, logprobs=True, top_logprobs=1).choices[0].logprobs.content
    with chat(client, logprobs=True, top_logprobs=1, stream=True) as chunks:
        streamed = [
            token
            for chunk in chunks
            for choice in chunk.choices
            if choice.logprobs
            for token in choice.logprobs.content or []
        ]
    assert [token.token for token in streamed] == [token.token for token in whole]


JSON_OBJECT: dict[str, Any] = {
    "messages": question(text="Describe this image as JSON."),
    "response_format": {"type": "json_object"},
    "max_tokens": 128,
}


def test_a_json_object_parses_if_it_is_not_cut(client: OpenAI) -> None:
    ended = 0
    for seed in range(4):
        (choice,) = chat(client, temperature=seed / 2, seed=seed, **JSON_OBJECT).choices
        assert choice.message.content.startswith("{")
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)
            ended += 1
    assert ended


def test_a_json_object_can_be_streamed(client: OpenAI) -> None:
    assert "".join(stream_of(client, **JSON_OBJECT)) == text(client, **JSON_OBJECT)


def test_a_chat_without_images_is_answered(client: OpenAI) -> None:
    messages = [{"role": "user", "content": "What is a circle?"}]
    answer = chat(client, messages=messages)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.prompt_tokens_details.image_tokens == 0
