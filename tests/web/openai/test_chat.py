"""The OpenAI-compatible API, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk
from PIL import Image

from chat_kit import CHAT, JSON, MODEL, chat_body, client_of, image_part, question, text_part
from vlm.engine.engine import Engine
from vlm.prompts import PRESETS
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import (
    HANG_GUARD_S,
    JPEG,
    SteppedEngine,
    ask,
    picture,
    read_events,
    served,
    started,
    wait_until,
)


def chat(client: OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(
        **{"model": MODEL, "messages": question(), "max_tokens": 16, **fields}
    )


def streamed(client: OpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    with chat(client, stream=True, **fields) as chunks:
        return list(chunks)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices
    )  # fmt: skip


def test_the_running_model_is_listed(client: OpenAI) -> None:
    assert [(model.id, model.object) for model in client.models.list()] == [(MODEL, "model")]
    model = client.models.retrieve(MODEL).to_dict()
    assert model["id"] == MODEL
    assert model["max_model_len"] == 2048
    assert model["architecture"]["input_modalities"] == ["text", "image"]
    assert "vision" in model["capabilities"]


def test_a_chat_is_answered(client: OpenAI) -> None:
    answer = chat(client)
    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    assert answer.id.startswith("chatcmpl-")
    (choice,) = answer.choices
    assert choice.index == 0
    assert choice.finish_reason in ("stop", "length")
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.logprobs is None


def test_a_chat_answers_as_the_caption_route_does(client: OpenAI, api_port: int) -> None:
    prompt = PRESETS[0].prompt
    _, _, body = ask(api_port, "POST", "/api/captions", picture(), JPEG)
    caption = read_events(body)[-1][1]
    answer = chat(client, messages=question(picture(), text=prompt), max_tokens=64)
    assert answer.choices[0].message.content == caption["text"]
    assert answer.usage.prompt_tokens == caption["stats"]["prompt_tokens"]


def test_a_streamed_answer_equals_the_whole_one(client: OpenAI) -> None:
    whole = chat(client)
    chunks = streamed(client)
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert {(chunk.id, chunk.model, chunk.object) for chunk in chunks} == {
        (chunks[0].id, MODEL, "chat.completion.chunk")
    }


def test_the_client_assembles_a_stream_into_the_whole_answer(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": question(), "logprobs": True, "max_tokens": 128}
    with client.chat.completions.stream(
        **asked, stream_options={"include_usage": True}
    ) as gathering:
        gathered = gathering.get_final_completion()
    whole = client.chat.completions.create(**asked)
    assert gathered.choices[0].message.content == whole.choices[0].message.content
    assert gathered.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert gathered.usage == whole.usage
    assert gathered.choices[0].logprobs is not None and whole.choices[0].logprobs is not None
    texts = [
        [token.token for token in each.content or []]
        for each in (gathered.choices[0].logprobs, whole.choices[0].logprobs)
    ]
    assert texts[0] == texts[1]


def test_concurrent_requests_of_one_client_are_answered(api_port: int) -> None:
    async def answers() -> list[Any]:
        url = f"http://127.0.0.1:{api_port}/v1"
        asked: Any = {"model": MODEL, "messages": question(), "max_tokens": 8}
        options: Any = {"timeout": HANG_GUARD_S, "max_retries": 0}
        async with AsyncOpenAI(base_url=url, api_key="any", **options) as client:
            stream = await client.chat.completions.create(**asked, stream=True)
            async for _ in stream:
                break
            await stream.close()
            return await asyncio.gather(
                *(client.chat.completions.create(**asked, user=f"u{n}") for n in range(10))
            )

    assert len({answer.choices[0].message.content for answer in asyncio.run(answers())}) == 1


def test_a_stream_starts_with_the_role_and_ends_with_the_reason(client: OpenAI) -> None:
    first, *_, last = streamed(client)
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content == ""
    assert last.choices[0].delta.model_dump(exclude_none=True) == {}
    assert last.choices[0].finish_reason is not None
    assert last.usage is None


def test_a_stream_has_usage_only_on_request(client: OpenAI) -> None:
    chunks = streamed(client, stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage == chat(client).usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_usage_counts_the_image_tokens(client: OpenAI) -> None:
    usage = chat(client).usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.prompt_tokens_details.image_tokens < usage.prompt_tokens
    assert 0 < usage.completion_tokens <= 16


def test_each_image_adds_its_tokens(client: OpenAI, frames: list[Image.Image]) -> None:
    counts = [
        chat(client, messages=question(*frames[:images])).usage.prompt_tokens_details.image_tokens
        for images in (1, 2, 3)
    ]
    assert counts == [counts[0], 2 * counts[0], 3 * counts[0]]


def test_images_and_text_can_alternate(client: OpenAI, frames: list[Image.Image]) -> None:
    parts = [text_part("First:"), image_part(frames[0]), text_part("then:"), image_part(frames[1])]
    answer = chat(client, messages=[{"role": "user", "content": [*parts, text_part("Compare.")]}])
    assert answer.choices[0].message.content is not None


def test_system_messages_and_earlier_turns_are_in_the_prompt(client: OpenAI) -> None:
    alone = chat(client).usage.prompt_tokens
    turns = [
        {"role": "system", "content": "Answer in one word."},
        *question(),
        {"role": "assistant", "content": "A picture."},
        {"role": "user", "content": "And what else?"},
    ]
    answer = chat(client, messages=turns)
    assert answer.usage.prompt_tokens > alone + 10
    as_developer = [{**turns[0], "role": "developer"}, *turns[1:]]
    again = chat(client, messages=as_developer)
    assert again.choices[0].message.content == answer.choices[0].message.content
    assert again.usage == answer.usage


def test_an_answer_can_be_sent_back_unchanged(client: OpenAI) -> None:
    first = chat(client).choices[0].message
    turns = [*question(), first.model_dump(), {"role": "user", "content": "Are you sure?"}]
    assert chat(client, messages=turns).choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_the_token_limit(client: OpenAI, field: str) -> None:
    answer = chat(client, **{"max_tokens": 1000, field: 1})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 1


def test_an_answer_ends_before_a_stop_text(client: OpenAI) -> None:
    whole = chat(client).choices[0].message.content
    assert len(whole) > 6
    stop = whole[3:6]
    for stops in (stop, ["no such words", stop]):
        answer = chat(client, stop=stops)
        assert answer.choices[0].message.content == whole[: whole.index(stop)]
        assert answer.choices[0].finish_reason == "stop"
        assert text_of(streamed(client, stop=stops)) == answer.choices[0].message.content


def test_high_detail_of_one_image_applies_to_all(client: OpenAI) -> None:
    low, auto, high = (
        chat(client, messages=[{"role": "user", "content": [image_part(detail=detail)]}])
        for detail in ("low", "auto", "high")
    )
    assert low.usage == auto.usage
    assert high.usage.prompt_tokens >= low.usage.prompt_tokens


def test_neutral_parameters_are_accepted(client: OpenAI) -> None:
    answer = chat(
        client,
        n=1,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        tools=[],
        tool_choice="none",
        parallel_tool_calls=True,
        response_format={"type": "text"},
        metadata={"purpose": "test"},
        user="somebody",
        store=False,
        top_p=1,
        temperature=0,
        service_tier="auto",
    )
    assert answer.choices[0].message.content == chat(client).choices[0].message.content


def test_chunks_arrive_at_once_and_closing_the_stream_cancels(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, admission),
        client_of(port) as client,
    ):
        stepped.allow(1)
        with chat(client, stream=True) as chunks:
            role, first = next(chunks), next(chunks)
            assert role.choices[0].delta.role == "assistant"
            assert first.choices[0].delta.content
            assert stepped.made == 1
        # The engine waits for a permit, so only the disconnect can have ended the stream.
        wait_until(lambda: admission.in_flight == 0)
        stepped.allow(1)
        wait_until(lambda: stepped.closed == 1)
        assert stepped.made <= 2
        stepped.allow(10_000)
        assert chat(client).choices[0].message.content


def test_a_disconnect_cancels_an_unstreamed_answer(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with (
        started(Worker(lambda: stepped, max_queue=1)) as worker,
        served(worker, Settings()) as (port, admission),
        client_of(port) as client,
    ):
        impatient = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_GUARD_S)
        impatient.request("POST", CHAT, json.dumps(chat_body()), JSON)
        wait_until(lambda: worker.queue.in_flight == 1)
        impatient.close()
        wait_until(lambda: admission.in_flight == 0)
        wait_until(lambda: stepped.closed == 1)
        assert stepped.made == 0
        stepped.allow(10_000)
        assert chat(client).choices[0].message.content
