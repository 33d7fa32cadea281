"""Drafts save decode steps and do not change the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from counting_runtime import CountingRuntime, counting
from engine_kit import generate_ids, with_task
from tools.nano.scenes import make_frame
from vlm.engine.drafts import (
    MAX_ANSWERS,
    MAX_GUESS_TOKENS,
    SHORT_GUESS_TOKENS,
    WHOLE,
    Draft,
    DraftCounts,
    LastAnswer,
    LastAnswers,
)
from vlm.engine.engine import Engine
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT, PRESETS
from vlm.results import Result
from vlm.settings import Settings
from vlm.types import Request

DETAILED_PROMPT = PRESETS[1].prompt
MAX_TOKENS = 28


@pytest.fixture(scope="module")
def drafting(nano_dir: Path, stops: frozenset[int]) -> tuple[Engine, CountingRuntime]:
    """An engine that has seen no frame of another test."""
    return counting(nano_dir, stops)


def plain_ids(engine: Engine, request: Request) -> list[int]:
    return list(generate_ids(engine, request, draft=()))


def drafted_ids(
    engine: Engine, request: Request, draft: Sequence[int], counts: DraftCounts | None = None
) -> list[int]:
    return list(generate_ids(engine, request, draft=draft, counts=counts))


def live_scenes(count: int) -> Iterator[Image.Image]:
    """Yield consecutive frames of a camera: each scene twice, then a little brighter."""
    for seed in range(count // 2):
        frame = make_frame(seed, "test").image
        yield frame
        yield frame.point(lambda level: min(255, level + 2))


@pytest.mark.parametrize("pairs", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_drafts_do_not_change_the_text(
    engine: Engine, drafting: tuple[Engine, CountingRuntime], pairs: int
) -> None:
    counts = DraftCounts()
    prompts = (DEFAULT_PROMPT, DETAILED_PROMPT)
    last: dict[str, list[int]] = {prompt: [] for prompt in prompts}
    whole = 0
    for frame in live_scenes(pairs // len(prompts) + 2):
        for prompt in prompts:
            request = Request.about(frame, prompt, MAX_TOKENS)
            plain = plain_ids(engine, request)
            assert drafted_ids(drafting[0], request, last[prompt], counts) == plain
            whole += plain == last[prompt]
            last[prompt] = plain
    # Some drafts were right to the end, others partly.
    assert 0 < whole < pairs
    assert 0 < counts.accepted < counts.drafted


HOSTILE: dict[str, Callable[[Sequence[int], Sequence[int], Engine], list[int]]] = {
    "empty": lambda right, other, engine: [],
    "random": lambda right, other, engine: Random(0).sample(range(1000), 60),
    "far longer than the limit": lambda right, other, engine: [*right[:-1], *right[:-1]] * 20,
    "an end token first": lambda right, other, engine: [right[-1], *right],
    "end tokens between": lambda right, other, engine: [*right[:2], right[-1], *right[2:]],
    "image tokens": lambda right, other, engine: [*right[:2], image_id(engine), *right[2:]],
    "image tokens alone": lambda right, other, engine: [image_id(engine)] * 70,
    "no such token": lambda right, other, engine: [*right[:1], -1, 10**9, *right[1:]],
    "one token left out": lambda right, other, engine: [*right[:2], *right[3:]],
    "one token more": lambda right, other, engine: [*right[:2], other[0], *right[2:]],
    "one token changed": lambda right, other, engine: [*right[:2], other[0], *right[3:]],
    "the wrong way round": lambda right, other, engine: [*right[::-1]],
    "one token for ever": lambda right, other, engine: [right[0]] * 100,
    "another answer": lambda right, other, engine: [*other],
}


def image_id(engine: Engine) -> int:
    input_ids = engine.prepare(Request.about(Image.new("RGB", (8, 8)), DEFAULT_PROMPT, 1)).input_ids
    return max(set(input_ids), key=input_ids.count)


@pytest.fixture(scope="module")
def detailed_answers(engine: Engine, frames: list[Image.Image]) -> list[list[int]]:
    """The ids of the answers about the first four frames and the last one, without a draft."""
    return [
        plain_ids(engine, Request.about(frame, DETAILED_PROMPT, MAX_TOKENS))
        for frame in (*frames[:4], frames[-1])
    ]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("max_tokens", [1, 2, MAX_TOKENS])
def test_wrong_drafts_do_not_change_the_text(
    engine: Engine,
    drafting: tuple[Engine, CountingRuntime],
    frames: list[Image.Image],
    detailed_answers: list[list[int]],
    name: str,
    max_tokens: int,
) -> None:
    *answers, other = detailed_answers
    for frame, answer in zip(frames, answers, strict=False):
        draft = HOSTILE[name](answer, other, engine)
        request = Request.about(frame, DETAILED_PROMPT, max_tokens)
        assert drafted_ids(drafting[0], request, draft) == answer[:max_tokens]


def test_drafts_do_not_change_a_text_without_end(
    nano_dir: Path, endless_engine: Engine, frames: list[Image.Image]
) -> None:
    engine, _ = counting(nano_dir)
    for frame in frames[:4]:
        request = Request.about(frame, DEFAULT_PROMPT, 70)
        plain = plain_ids(endless_engine, request)
        assert drafted_ids(engine, request, plain[:30]) == plain
        assert drafted_ids(engine, request, plain[5:]) == plain


def last_of(engine: Engine, request: Request) -> Result:
    *_, done = engine.stream(request)
    assert isinstance(done, Result)
    return done


@pytest.mark.parametrize(
    ("runtime", "dtype", "drafts"),
    [
        ("openvino", "float32", True),
        ("openvino", "int4", True),
        ("torch", "float32", True),
        ("torch", "bfloat16", False),
        ("torch", "float16", False),
    ],
)
def test_an_answer_is_the_same_if_it_is_asked_for_again(
    frames: list[Image.Image], runtime: str, dtype: str, drafts: bool
) -> None:
    """Drafts and kept states are used only where they do not change the text."""
    settings = Settings(model="nano", device="cpu", runtime=runtime, dtype=dtype)
    engine = load_engine(settings)
    for frame in frames[:3]:
        request = Request.about(frame, DEFAULT_PROMPT, MAX_TOKENS)
        first, second = last_of(engine, request), last_of(engine, request)
        assert second.text == first.text
        assert (second.stats.drafted > 0) is drafts


def test_unchanged_scene_needs_no_decode_steps(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, runtime = counting(nano_dir, stops)
    steady = [frames[0], frames[0].copy()]
    # Another key in the frame cache, the same scene for the model.
    steady[1].putpixel((0, 0), (1, 2, 3))
    first = last_of(engine, Request.about(steady[0], DEFAULT_PROMPT, MAX_TOKENS))
    assert runtime.decodes == first.stats.tokens > 0
    second = last_of(engine, Request.about(steady[1], DEFAULT_PROMPT, MAX_TOKENS))
    assert second.text == first.text
    assert (second.stats.drafted, second.stats.accepted) == (first.stats.tokens,) * 2
    assert (runtime.encoded_tiles, runtime.prefills) == (2, 2)
    assert (runtime.decodes, runtime.verifies) == (first.stats.tokens, 0)


def test_answers_of_other_cameras_are_no_drafts(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, _ = counting(nano_dir, stops)
    for camera in ("kitchen", "garden"):
        request = Request.about(frames[0], DEFAULT_PROMPT, MAX_TOKENS, camera=camera)
        assert last_of(engine, request).stats.drafted == 0


def test_cancelled_answer_does_not_replace_the_draft(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, _ = counting(nano_dir, stops)
    request = Request.about(frames[0], DEFAULT_PROMPT, MAX_TOKENS)
    whole = last_of(engine, request)
    assert list(engine.stream(request, lambda: True))[-1].text == ""
    assert last_of(engine, request).stats.accepted == whole.stats.tokens


def test_answer_cut_in_a_loop_does_not_replace_the_draft(
    nano_dir: Path, frames: list[Image.Image]
) -> None:
    engine, _ = counting(nano_dir)
    plain = Request.about(frames[0], DEFAULT_PROMPT, 150)
    looping = with_task(plain, stop_loops=True)
    assert [last_of(engine, looping).finish_reason for _ in range(2)] == ["loop"] * 2
    assert last_of(engine, with_task(plain, max_tokens=20)).stats.drafted == 0
    assert last_of(engine, looping).stats.accepted >= 20
    assert last_of(engine, with_task(plain, max_tokens=30)).stats.accepted == 20


def test_draft_is_resumed_after_a_mismatch() -> None:
    draft = Draft([1, 2, 3, 4, 5, 6], takes=lambda token: True)
    assert draft.start(99) == [1, 2, 3, 4, 5, 6]
    draft.note(right=1, guessed=6)
    # 9 instead of 2: no match until 3.
    assert draft.meet([1, 9], most=99) == []
    assert draft.meet([1, 9, 3], most=99) == [4, 5, 6]


def test_wrong_guess_requires_a_longer_match() -> None:
    draft = Draft([1, 2, 3, 1, 4, 5, 1, 4, 6], takes=lambda token: True)
    draft.note(right=0, guessed=9)
    assert draft.meet([8, 1], most=2) == []
    assert draft.meet([8, 1, 4], most=2) == [5, 1]


def test_guess_is_at_most_the_given_length() -> None:
    draft = Draft(list(range(100)), takes=lambda token: True)
    assert draft.start(0) == draft.meet([0], most=0) == []
    assert draft.meet([0], most=3) == [1, 2, 3]


def test_guesses_grow_until_one_is_wrong() -> None:
    draft = Draft(list(range(100)), takes=lambda token: True)
    draft.note(right=1, guessed=99)
    lengths, at = [], 10
    for _ in range(4):
        guess = draft.meet([at], most=99)
        lengths.append(len(guess))
        draft.note(right=len(guess), guessed=len(guess))
        at = guess[-1] + 1
    assert lengths == [SHORT_GUESS_TOKENS, 2 * SHORT_GUESS_TOKENS, *[MAX_GUESS_TOKENS] * 2]
    draft.note(right=1, guessed=MAX_GUESS_TOKENS)
    assert len(draft.meet([at + 1], most=99)) == SHORT_GUESS_TOKENS


@pytest.mark.parametrize(
    ("right", "guessed", "trusted"), [(2, 9, 2 + SHORT_GUESS_TOKENS), (9, 9, WHOLE), (0, 0, WHOLE)]
)
def test_draft_of_a_changing_scene_is_shorter(right: int, guessed: int, trusted: int) -> None:
    draft = Draft(list(range(9)), takes=lambda token: True)
    draft.note(right, guessed)
    draft.note(right=0, guessed=0)
    assert draft.trusted_next() == trusted
    assert len(Draft(range(99), lambda token: True, trusted).start(50)) == min(trusted, 50)


def test_draft_ends_before_a_rejected_token() -> None:
    assert Draft([4, 5, 0, 6], takes=bool).start(9) == [4, 5]


def test_oldest_answer_is_evicted() -> None:
    answers = LastAnswers()
    for question in range(MAX_ANSWERS + 1):
        answers.put(question, LastAnswer([question]))
    assert answers.get(0).ids == ()
    assert answers.get(1).ids == [1]
    assert answers.get(MAX_ANSWERS).ids == [MAX_ANSWERS]
