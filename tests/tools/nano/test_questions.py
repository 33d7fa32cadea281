"""The taught questions: each answer is true, and no wording gives it away."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from tools.nano import language, prompts_taught, questions
from tools.nano.scenes import Frame
from tools.nano.truth import Scene, SceneObject

HONEST = {**language.STATE_SENTENCES, "unfamiliar": questions.UNFAMILIAR_ANSWER}


def with_rng(frames: list[Frame]) -> Iterator[tuple[Scene, np.random.Generator]]:
    """Each scene four times, with different random numbers."""
    for number, frame in enumerate(frames):
        for turn in range(4):
            yield frame.scene, np.random.default_rng([number, turn])


def pair_in(text: str) -> tuple[str, str]:
    """The only (colour, shape) that a text names."""
    (pair,) = language.objects_in(text)
    return pair


def pairs_of(scene: Scene) -> Counter[tuple[str, str]]:
    return Counter((item.colour, item.shape) for item in scene.objects)


def the(scene: Scene, pair: tuple[str, str]) -> SceneObject:
    """The only object of a colour and shape."""
    (item,) = [item for item in scene.objects if (item.colour, item.shape) == pair]
    return item


@pytest.mark.parametrize("adversarial", [False, True])
def test_existence_answers_are_true_and_half_of_them_no(
    mixed_frames: list[Frame], adversarial: bool
) -> None:
    answers = Counter[str]()
    for scene, rng in with_rng(mixed_frames):
        exchange = questions.existence(scene, rng, adversarial)
        if scene.objects:
            there = pair_in(exchange.prompt) in pairs_of(scene)
            assert exchange.answer == ("Yes." if there else "No.")
            answers[exchange.answer] += 1
    assert 0.45 < answers["No."] / answers.total() < 0.55


def test_adversarial_questions_share_shape_or_colour_with_an_object(
    mixed_frames: list[Frame],
) -> None:
    kinds = Counter[str]()
    for scene, rng in with_rng(mixed_frames):
        exchange = questions.existence(scene, rng, adversarial=True)
        if scene.objects and exchange.answer == "No.":
            colour, shape = pair_in(exchange.prompt)
            same_shape = shape in {item.shape for item in scene.objects}
            assert same_shape or colour in {item.colour for item in scene.objects}
            kinds["shape" if same_shape else "colour"] += 1
    assert kinds["shape"] > kinds["colour"] > 0


def test_colour_questions_name_a_unique_shape(mixed_frames: list[Frame]) -> None:
    count = 0
    for scene, rng in with_rng(mixed_frames):
        shapes = Counter(item.shape for item in scene.objects)
        exchange = questions.colour_question(scene, rng)
        assert (exchange is not None) == (1 in shapes.values())
        if exchange is not None:
            (item,) = [item for item in scene.objects if item.shape in exchange.prompt]
            assert exchange.answer == f"{item.colour.capitalize()}."
            count += 1
    assert count > 100


def test_position_answers_are_true(mixed_frames: list[Frame]) -> None:
    kinds = Counter[str]()
    for scene, rng in with_rng(mixed_frames):
        exchange = questions.position_question(scene, rng)
        if exchange is None:
            assert 1 not in pairs_of(scene).values()
            continue
        answered = language.objects_in(exchange.answer)
        (asked_pair,) = language.objects_in(exchange.prompt) - answered
        item = the(scene, asked_pair)
        if answered:
            other = the(scene, *answered)
            relation = language.relation_of(item, other)
            assert exchange.answer.startswith(f"It is {relation} the ")
        else:
            assert exchange.answer[:-1].lower() == language.place_of(item.x, item.y)
        kinds["relation" if answered else "place"] += 1
    assert min(kinds["relation"], kinds["place"]) > 50


def test_relation_answers_agree_with_the_coordinates(mixed_frames: list[Frame]) -> None:
    """Independent of the code that chooses the words."""
    for scene, rng in with_rng(mixed_frames):
        exchange = questions.position_question(scene, rng)
        if exchange is None or not (answered := language.objects_in(exchange.answer)):
            continue
        (asked_pair,) = language.objects_in(exchange.prompt) - answered
        item, other = the(scene, asked_pair), the(scene, *answered)
        if "left of" in exchange.answer:
            assert item.x < other.x
        elif "right of" in exchange.answer:
            assert item.x > other.x
        elif "above" in exchange.answer:
            assert item.y < other.y
        else:
            assert item.y > other.y


def test_count_answers_are_true_and_include_the_text(mixed_frames: list[Frame]) -> None:
    seen = set()
    for scene, rng in with_rng(mixed_frames):
        exchange = questions.count_question(scene, rng)
        if scene.kind not in HONEST:
            number = len(scene.objects) + (1 if scene.text else 0)
            assert exchange.answer == f"{questions.COUNT_WORDS[number]}."
            seen.add(number)
    assert seen == {0, 1, 2, 3, 4}


def test_reading_answers_quote_the_text_or_say_there_is_none(mixed_frames: list[Frame]) -> None:
    for scene, rng in with_rng(mixed_frames):
        answer = questions.reading_question(scene, rng).answer
        if scene.text:
            assert language.quoted_in(answer) == scene.text.text
        elif scene.kind not in HONEST:
            assert answer == questions.NO_TEXT_ANSWER


@pytest.mark.parametrize("kind", HONEST)
def test_hidden_and_unfamiliar_scenes_have_one_honest_answer(
    mixed_frames: list[Frame], kind: str
) -> None:
    scene = next(frame.scene for frame in mixed_frames if frame.scene.kind == kind)
    for turn in range(5):
        for exchange in questions.exchanges(scene, np.random.default_rng(turn), 10):
            assert exchange.task not in ("colour", "position")
            if exchange.task in ("exists", "count", "read", "list", "list_downwards"):
                assert exchange.answer == HONEST[kind]
            elif exchange.task in ("caption", "detailed"):
                assert exchange.answer == language.caption(scene)
            elif exchange.task == "json":
                assert json.loads(exchange.answer)["scene"] == kind


def test_only_questions_about_one_object_repeat(
    mixed_frames: list[Frame],
) -> None:
    repeated = Counter[str]()
    for scene, rng in with_rng(mixed_frames[:60]):
        for most in (1, 4, 9):
            found = questions.exchanges(scene, rng, most)
            assert len(found) == len({exchange.prompt for exchange in found}) <= most
            (captioned,) = [each.answer for each in found if each.task == "caption"]
            assert captioned == language.caption(scene)
            tasks = Counter(exchange.task for exchange in found)
            repeated += Counter(task for task, times in tasks.items() if times > 1)
    assert set(repeated) == {"colour", "exists", "position"}


def test_relation_answers_are_true_both_ways_round(mixed_frames: list[Frame]) -> None:
    found = 0
    for scene, rng in with_rng(mixed_frames):
        exchanges = questions.relation_both_ways(scene, rng)
        if not exchanges:
            continue
        found += 1
        one, other = (pair_in(exchange.answer) for exchange in exchanges)
        for exchange, item, reference in zip(exchanges, (other, one), (one, other), strict=True):
            relation = language.relation_of(the(scene, item), the(scene, reference))
            assert exchange.answer.startswith(f"It is {relation} the ")
            assert set(language.objects_in(exchange.prompt.lower())) == {item, reference}
    assert found > 50


def test_all_tasks_occur(mixed_frames: list[Frame]) -> None:
    tasks = {
        exchange.task
        for scene, rng in with_rng(mixed_frames[:60])
        for exchange in questions.exchanges(scene, rng, 4)
    }
    position = {"relation", "place"}
    assert tasks == {*prompts_taught.PHRASINGS, "position"} - position


def test_questions_are_deterministic(mixed_frames: list[Frame]) -> None:
    scene = mixed_frames[0].scene
    first, second = (questions.exchanges(scene, np.random.default_rng(9), 6) for _ in range(2))
    assert first == second


def test_phrasings_belong_to_one_task() -> None:
    phrasings = [
        phrasing.lower().rstrip(".?!")
        for task in prompts_taught.PHRASINGS.values()
        for phrasing in task
    ]
    assert len(set(phrasings)) == len(phrasings)
    assert all(len(task) >= 5 for task in prompts_taught.PHRASINGS.values())


def test_off_topic_prompts_are_answered_by_the_caption(mixed_frames: list[Frame]) -> None:
    taught = {phrasing.lower().rstrip(".?!") for phrasing in prompts_taught.PHRASINGS["caption"]}
    scene = next(frame.scene for frame in mixed_frames if frame.scene.objects)
    exchanges = [
        questions.caption_question(scene, np.random.default_rng(seed)) for seed in range(200)
    ]
    off_topic = [each for each in exchanges if each.prompt.lower().rstrip(".?!") not in taught]
    assert 20 < len(off_topic) < 80
    assert {each.answer for each in exchanges} == {language.caption(scene)}


def test_answers_do_not_depend_on_the_phrasing(mixed_frames: list[Frame]) -> None:
    scene = mixed_frames[0].scene
    for task in ("light", "count", "list", "read"):
        answers = {
            exchange.answer
            for turn in range(30)
            for exchange in questions.exchanges(scene, np.random.default_rng(turn), 10)
            if exchange.task == task
        }
        assert len(answers) == 1
