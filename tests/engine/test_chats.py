"""Chats: several images and turns, logprobs, sampling, stop texts, JSON."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from checkpoint_copy import copy_checkpoint
from engine_kit import chat_request, generate_ids, with_task
from tools.reference import load_processor
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.engine.sampling import Sampler
from vlm.errors import BadRequestError
from vlm.models.loading import load_engine
from vlm.prompts import CHAT_MAX_CHARS, PRESETS
from vlm.results import Result, TokenChunk, TokenLogprob
from vlm.runtimes.torch.eager import load_model
from vlm.settings import Settings
from vlm.types import Message, PromptEnd, Request, Sampling

QUESTION = PRESETS[1].prompt
SHORT = PRESETS[0].prompt
AS_JSON = PRESETS[-1].prompt


@pytest.fixture(scope="module", params=["openvino", "torch"])
def engine(request: pytest.FixtureRequest) -> Engine:
    settings = Settings(model="nano", runtime=request.param, device="cpu", dtype="float32")
    return load_engine(settings)


@pytest.fixture
def plain(frames: list[Image.Image]) -> Request:
    return Request.about(frames[0], QUESTION, 60)


def answer(engine: Engine, request: Request) -> tuple[list[TokenChunk], Result]:
    *chunks, done = engine.stream(request)
    assert isinstance(done, Result)
    texts = [chunk for chunk in chunks if isinstance(chunk, TokenChunk)]
    assert "".join(chunk.text for chunk in texts) == done.text
    assert all(chunk.text for chunk in texts)
    return texts, done


def logprobs_of(chunks: list[TokenChunk]) -> list[TokenLogprob]:
    return [logprob for chunk in chunks for logprob in chunk.logprobs]


def a_chat(frames: list[Image.Image]) -> tuple[Message, ...]:
    return (
        Message("system", ("You are brief. <image>",)),
        Message("user", (frames[0], "What is this?", frames[1], "And this?")),
        Message("assistant", ("A red <end_of_utterance> circle.",)),
        Message("user", (SHORT,)),
    )


def test_ids_of_a_long_chat_equal_transformers(frames: list[Image.Image], nano_dir: Path) -> None:
    builder, processor = InputBuilder.load(nano_dir), load_processor(nano_dir)
    grids = [builder.image_processor.grid_of(frame.size, "low") for frame in frames[:2]]
    turns = (
        ("system", ("You are brief.",)),
        ("user", (grids[0], "What is this?", grids[1], "And this?")),
        ("assistant", ("A red circle.",)),
        ("user", (SHORT,)),
    )
    messages = [
        {
            "role": role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                for part in parts
            ],
        }
        for role, parts in turns
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    theirs: Any = processor(
        text=text, images=[frames[:2]], do_image_splitting=False, return_tensors="np"
    )
    assert list(builder.chat_ids(turns)) == theirs["input_ids"][0].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("checkpoint", ["nano_dir", "smolvlm_dir"])
def test_ids_of_each_end_of_a_prompt_equal_transformers(
    request: pytest.FixtureRequest, checkpoint: str
) -> None:
    folder = request.getfixturevalue(checkpoint)
    builder, processor = InputBuilder.load(folder), load_processor(folder)
    ends: dict[PromptEnd, dict[str, bool]] = {
        "generation_prompt": {"add_generation_prompt": True},
        "final_message": {"add_generation_prompt": False},
        "final_text": {"add_generation_prompt": False, "continue_final_message": True},
    }
    for parts in (("A red",), ("A red ",), (" A\n",), ("",), ("The picture: ", "A red ci")):
        turns: Any = (("user", ("What is this?",)), ("assistant", parts))
        messages = [
            {"role": role, "content": [{"type": "text", "text": part} for part in texts]}
            for role, texts in turns
        ]
        for end, fields in ends.items():
            text = processor.apply_chat_template(messages, **fields)
            theirs = processor(text=text, return_tensors="np")["input_ids"][0].tolist()
            assert list(builder.chat_ids(turns, end=end)) == theirs, (parts, end)


def test_typed_image_tokens_are_plain_text(engine: Engine, frames: list[Image.Image]) -> None:
    chat = engine.prepare(chat_request(a_chat(frames), 12))
    one = engine.prepare(Request.about(frames[0], SHORT, 12))
    assert chat.image_tokens == 2 * one.image_tokens


def test_each_image_of_a_chat_changes_the_answer(engine: Engine, frames: list[Image.Image]) -> None:
    def answer_about(*images: Image.Image) -> str:
        return answer(engine, chat_request((Message("user", (*images, QUESTION)),), 40))[1].text

    orders = {
        answer_about(frames[0], frames[3]),
        answer_about(frames[3], frames[0]),
        answer_about(frames[0]),
    }
    assert len(orders) > 1
    again = answer_about(frames[0], frames[3])
    assert again in orders


def test_reused_images_do_not_change_the_answer(engine: Engine, frames: list[Image.Image]) -> None:
    first = chat_request((Message("user", (frames[1], frames[2], SHORT)),), 30)
    second = chat_request((Message("user", (frames[1], frames[2], QUESTION)),), 30)
    other = chat_request((Message("user", (frames[3], frames[2], QUESTION)),), 30)
    engine.close()
    fresh = []
    for request in (first, second, other):
        engine.close()
        fresh.append(answer(engine, request)[1].text)
    engine.close()
    assert [answer(engine, request)[1].text for request in (first, second, other)] == fresh


def test_chat_without_an_image_is_answered(engine: Engine) -> None:
    _, done = answer(engine, chat_request((Message("user", ("Hello there",)),), 6))
    assert done.stats.image_tokens == 0
    assert done.stats.tokens > 0


def test_chat_that_the_template_rejects_is_a_bad_request(nano_dir: Path, tmp_path: Path) -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<image>{{ messages[0].content[1].text }}"
    )
    builder = InputBuilder.load(
        copy_checkpoint(nano_dir, tmp_path / "odd", {"chat_template.jinja": source})
    )
    for turns in ((("system", ("Be brief.",)),), (("user", ("a", "b")),)):
        with pytest.raises(BadRequestError, match="one user message"):
            builder.chat_ids(turns)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a" * (CHAT_MAX_CHARS + 1), "a\ufffdb", "\ufffd"])
def test_unreadable_texts_are_refused(engine: Engine, text: str) -> None:
    with pytest.raises(BadRequestError):
        engine.prepare(chat_request((Message("user", (text,)),), 6))


def test_logprobs_do_not_change_the_text(engine: Engine, plain: Request) -> None:
    _, done = answer(engine, plain)
    chunks, result = answer(engine, with_task(plain, top_logprobs=3))
    assert (result.text, result.finish_reason) == (done.text, done.finish_reason)
    tokens = logprobs_of(chunks)
    assert len(tokens) == result.stats.tokens
    assert b"".join(token.token_bytes for token in tokens).decode().lstrip() == result.text
    for token in tokens:
        assert token.logprob <= 0
        top = [other.logprob for other in token.top]
        assert top == sorted(top, reverse=True)
        assert len(top) == 3
        # Greedy: the argmax.
        assert token.top[0].token_bytes == token.token_bytes
        assert math.isclose(top[0], token.logprob)


def test_logprobs_equal_transformers(
    engine: Engine, frames: list[Image.Image], nano_dir: Path
) -> None:
    import torch

    chunks, done = answer(engine, with_task(Request.about(frames[2], SHORT, 5), top_logprobs=0))
    inputs = engine.prepare(Request.about(frames[2], SHORT, 5))
    ids = list(generate_ids(engine, inputs.request))[: done.stats.tokens]
    builder = InputBuilder.load(nano_dir)
    model = load_model(nano_dir, torch.float32, "cpu")
    pixels = builder.image_processor.pixel_values(frames[2], "low")
    with torch.inference_mode():
        logits = model(
            input_ids=torch.tensor([[*inputs.input_ids, *ids]]),
            pixel_values=torch.from_numpy(pixels)[None],
        ).logits[0, len(inputs.input_ids) - 1 : -1]
    theirs = logits.log_softmax(-1)[range(len(ids)), ids]
    ours = [token.logprob for token in logprobs_of(chunks)]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-3)


def test_seed_determines_the_sampled_text(engine: Engine, plain: Request) -> None:
    def sample(seed: int) -> str:
        sampled = with_task(plain, sampling=Sampling(temperature=2.0, seed=seed))
        return answer(engine, sampled)[1].text

    texts = [sample(seed) for seed in range(4)]
    assert len(set(texts)) > 1
    assert [sample(seed) for seed in range(4)] == texts


def test_low_top_p_and_low_temperature_are_greedy(engine: Engine, plain: Request) -> None:
    greedy = answer(engine, plain)[1].text
    for sampling in (Sampling(2.0, 1e-6), Sampling(1e-4, 1.0), Sampling(5e-324, 1.0)):
        assert answer(engine, with_task(plain, sampling=sampling))[1].text == greedy


def test_sampled_frequencies_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.07, 0.03], np.float32))
    picker = Sampler(Sampling(1.0, 0.85, seed=3))
    counts = np.bincount([picker.pick((), logits).id for _ in range(4000)], minlength=5) / 4000
    assert counts[3:].sum() == 0
    np.testing.assert_allclose(counts[:3], np.array([0.5, 0.25, 0.15]) / 0.9, atol=0.03)
    warm = Sampler(Sampling(2.0, 1.0, seed=3))
    flat = np.bincount([warm.pick((), logits).id for _ in range(4000)], minlength=5) / 4000
    roots = np.sqrt([0.5, 0.25, 0.15, 0.07, 0.03])
    np.testing.assert_allclose(flat, roots / roots.sum(), atol=0.03)


def test_answer_ends_before_its_first_stop_text(engine: Engine, plain: Request) -> None:
    chunks, done = answer(engine, plain)
    texts = [chunk.text for chunk in chunks]
    # Across two chunks, within one, and one that does not occur.
    stops = [first[-1] + second[0] for first, second in pairwise(texts[2:6])]
    for stop in [*stops, texts[3], "no such text"]:
        cut, ended = answer(engine, with_task(plain, stop=(stop, "\nnever\n")))
        end = done.text.find(stop)
        assert ended.text == (done.text[:end] if end >= 0 else done.text)
        assert ended.finish_reason == ("stop" if end >= 0 else done.finish_reason)
        assert ended.stats.tokens <= done.stats.tokens
        assert not any(stop in chunk.text for chunk in cut)


@pytest.mark.parametrize("prompt", [AS_JSON, SHORT, "Hello"])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_json_answer_is_one_object(
    engine: Engine, frames: list[Image.Image], prompt: str, temperature: float
) -> None:
    for seed, frame in enumerate(frames[:3]):
        request = Request.about(frame, prompt, 256)
        sampling = Sampling(temperature, 1.0, seed)
        _, done = answer(engine, with_task(request, json_object=True, sampling=sampling))
        if done.finish_reason == "stop":
            assert isinstance(json.loads(done.text), dict)
        else:
            # Truncated by max_tokens, but the start of an object.
            assert done.finish_reason == "length"
            assert done.text.startswith("{")


def test_json_grammar_does_not_change_valid_json(engine: Engine, frames: list[Image.Image]) -> None:
    whole = 0
    for frame in frames[:4]:
        request = Request.about(frame, AS_JSON, 120)
        free = answer(engine, request)[1]
        bound = answer(engine, with_task(request, json_object=True))[1]
        try:
            json.loads(free.text)
        except ValueError:
            continue
        whole += 1
        assert bound.text == free.text
    assert whole
