"""Scores of given answers: their values, what they cost, and how they share the engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counting_runtime import counting
from engine_kit import chat_request
from vlm.engine.engine import Engine
from vlm.errors import BadRequestError, NotSupportedError
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Scored, TokenChunk
from vlm.scoring.existence import existence, existence_choices
from vlm.scoring.labels import LabelQuestion
from vlm.scoring.phrasing import phrasing_of
from vlm.types import Choices, Message, Request, ScoreTask
from worker_kit import read, running

NANO = phrasing_of("nano")
LABELS = ("red star", "red", "a star", "🟥", "<end_of_utterance>", "red star and a ring")


def scored(engine: Engine, image: Image.Image, *choices: Choices) -> Scored:
    result = engine.run(Request(ScoreTask(image, choices)))
    assert isinstance(result, Scored)
    return result


def test_a_score_is_the_probability_of_writing_the_answer(
    engine: Engine, frames: list[Image.Image]
) -> None:
    request = chat_request(
        (Message("user", (frames[0], DEFAULT_PROMPT)),), max_tokens=40, top_logprobs=0
    )
    chunks = [each for each in engine.stream(request) if isinstance(each, TokenChunk)]
    text = "".join(each.text for each in chunks)
    logprobs = [token.logprob for each in chunks for token in each.logprobs]
    (values,) = scored(engine, frames[0], Choices(DEFAULT_PROMPT, (text, f"{text} More"))).logprobs
    # The first one counts with its end, since the second begins with it.
    assert values[0] == pytest.approx(sum(logprobs), abs=0.05)
    assert values[1] < values[0]


def test_order_and_duplicates_change_nothing(engine: Engine, frames: list[Image.Image]) -> None:
    choices = Choices(DEFAULT_PROMPT, (*LABELS, *LABELS[::-1]))
    (values,) = scored(engine, frames[0], choices).logprobs
    np.testing.assert_allclose(values[: len(LABELS)], values[: len(LABELS) - 1 : -1], atol=1e-4)
    (alone,) = scored(engine, frames[0], Choices(DEFAULT_PROMPT, LABELS[1:])).logprobs
    # Without the answer that begins with it, "red" needs no end.
    np.testing.assert_allclose(alone[2:4], values[3:5], atol=1e-4)


def test_several_questions_score_as_each_alone(engine: Engine, frames: list[Image.Image]) -> None:
    choices = existence_choices([f"{colour} star" for colour in ("red", "blue", "pink")], NANO)
    together = scored(engine, frames[1], *choices)
    for asked, values in zip(choices, together.logprobs, strict=True):
        (alone,) = scored(engine, frames[1], asked).logprobs
        np.testing.assert_allclose(values, alone, atol=1e-4)
        found = existence(values, NANO, None)
        assert found.probability == pytest.approx(
            math.exp(values[0]) / (math.exp(values[0]) + math.exp(values[2])), abs=0.02
        )


def test_a_frame_that_was_captioned_costs_one_pass(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, runtime = counting(nano_dir, stops)
    caption = engine.run(Request.about(frames[2], DEFAULT_PROMPT, 30)).text
    question = LabelQuestion(("red star", "blue ring"), "one", "nano")
    result = engine.run(Request(question.task(frames[2])))
    assert isinstance(result, Scored)
    assert (result.passes, runtime.encoded_tiles, runtime.prefills) == (1, 1, 1)
    # Another question uses what the first one fed, and the caption is the same again.
    engine.run(Request(LabelQuestion(("red star",), "many", "nano").task(frames[2])))
    assert (runtime.encoded_tiles, runtime.prefills) == (1, 1)
    assert engine.run(Request.about(frames[2], DEFAULT_PROMPT, 30)).text == caption
    assert runtime.encoded_tiles == 1
    # An evicted frame is encoded again, for the same scores.
    engine.close()
    again = engine.run(Request(question.task(frames[2])))
    assert isinstance(again, Scored)
    np.testing.assert_allclose(again.logprobs, result.logprobs, atol=1e-4)
    assert runtime.encoded_tiles == 2


def test_what_cannot_be_scored_is_refused(
    engine: Engine, nano_dir: Path, frames: list[Image.Image]
) -> None:
    with pytest.raises(BadRequestError, match="room for"):
        scored(engine, frames[0], Choices(DEFAULT_PROMPT, ("word " * 2100,)))
    without, runtime = counting(nano_dir)
    runtime.capabilities = frozenset()
    with pytest.raises(NotSupportedError, match="--device"):
        scored(without, frames[0], Choices(DEFAULT_PROMPT, LABELS))


def test_a_caption_goes_between_two_packs_and_cancelling_ends_them(
    nano_dir: Path,
    stops: frozenset[int],
    frames: list[Image.Image],
    request_for: Callable[[int], Request],
) -> None:
    engine, _ = counting(nano_dir, stops)
    labels = [f"{one} {other} thing" for one in "abcdefgh" for other in ("red", "blue", "round")]
    many = Request(LabelQuestion(labels, "many", "nano").task(frames[3]))
    job = engine.begin(many)
    # The frame and the shared prompt first.
    engine.advance([job])
    engine.advance([job])
    assert engine.max_batch == 2
    other = engine.begin(request_for(4))
    events: list[object] = []
    while not any(isinstance(each, Scored) for each in events):
        events += engine.advance([job, other] if not other.is_over else [job])[0]
        if not other.is_over:
            assert not events, "the caption goes first"
    assert engine.max_batch == 1
    whole = events[-1]
    assert isinstance(whole, Scored) and whole.passes > 2
    is_cancelled = False
    cancelled = engine.begin(many, lambda: is_cancelled)
    engine.advance([cancelled])
    is_cancelled = True
    for _ in range(2):
        events = engine.advance([cancelled])[0]
        if events:
            break
    last = events[-1]
    assert isinstance(last, Scored)
    assert (last.finish_reason, last.logprobs) == ("cancelled", ())


def test_the_worker_runs_scores_as_any_request(engine: Engine, frames: list[Image.Image]) -> None:
    question = LabelQuestion(("red star", "blue ring"), "one", "nano")
    with running(engine) as worker:
        request = replace(Request(question.task(frames[0])), camera="door", kind="live")
        (result,) = read(worker.submit(request))
    assert isinstance(result, Scored)
    assert (result.model, len(result.logprobs[0])) == ("nano", 8)
